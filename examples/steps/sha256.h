/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 as FIPS 180-4 defines it. */
#ifndef PHOS_EXAMPLES_SHA256_H
#define PHOS_EXAMPLES_SHA256_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  uint32_t state[8];
  uint64_t bytes;
  uint8_t block[64];
} sha256;

void sha256_start(sha256 *hash);
void sha256_add(sha256 *hash, const void *data, size_t bytes);
/* Writes 64 hexadecimal digits and a terminating zero. */
void sha256_end(sha256 *hash, char text[65]);

#ifdef __cplusplus
}
#endif
#endif
