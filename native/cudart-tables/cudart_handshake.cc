// SPDX-License-Identifier: Apache-2.0
// The integrity handshake of the CUDA runtime.
//
// Every copy of cudart asks its driver three keyed questions when it starts and answers error 103
// to every later call when one answer is wrong. This file answers them, for one purpose: that
// programs which carry cudart inside (which is nvcc's default) can run on a driver that is not
// NVIDIA's. The account of the questions, the key and the two constants was published by the ZLUDA
// project (https://github.com/vosen/ZLUDA, Apache-2.0 or MIT); that the keyed digest is HMAC (RFC
// 2104) over MD2 (RFC 1319) was found for phos and checked against cudart 13.0. No code was
// copied, and nothing of NVIDIA's was taken apart. Build with -DPHOS_CUDART_HANDSHAKE=OFF to leave
// it out.
#include <pthread.h>
#include <unistd.h>

#include <cstring>

#include "cudart-tables/handshake.h"
#include "cudart-tables/md2.h"

namespace phos::cudart_tables {

namespace {

constexpr std::uint8_t kKey[Md2::kDigestBytes] = {0x14, 0x6A, 0xDD, 0xAE, 0x53, 0xA9, 0xA7, 0x52,
                                                  0xAA, 0x08, 0x41, 0x36, 0x0B, 0xF5, 0x5A, 0x9F};
// Answers to the questions whose version ends in 0 and in 1.
constexpr std::uint64_t kFirstAnswer[2] = {0x3341181C03CB675C, 0x8ED383AA1F4CD1E8};
constexpr std::uint64_t kSecondAnswer[2] = {0x1841181C03CB675C, 0x8ED383AA1F4CD1E8};

// What is digested: who asks, where the tables are, when it is, and which devices there are.
struct Message {
  std::uint32_t driver_version;
  std::uint32_t version;
  std::uint32_t process;
  std::uint32_t thread;  // low half of pthread_self()
  const void* interface_table;
  const void* integrity_table;
  const void* function;
  std::uint64_t unix_seconds;
};
static_assert(sizeof(Message) == 48);
static_assert(sizeof(DeviceIdentity) == 28);

}  // namespace

bool handshake_is_built_in() noexcept { return true; }

void answer_handshake(const Host& host, const HandshakeQuestion& question,
                      std::uint64_t (&answer)[2]) noexcept {
  const std::uint32_t kind = question.version % 10;
  if (kind < 2) {
    std::memcpy(answer, kind == 0 ? kFirstAnswer : kSecondAnswer, sizeof(answer));
    return;
  }
  Message message{};
  message.driver_version = static_cast<std::uint32_t>(host.driver_version());
  message.version = question.version;
  message.process = static_cast<std::uint32_t>(getpid());
  message.thread = static_cast<std::uint32_t>(pthread_self());
  message.interface_table = question.interface_table;
  message.integrity_table = question.integrity_table;
  message.function = question.function;
  message.unix_seconds = question.unix_seconds;
  HmacMd2 digest(kKey);
  digest.update(&message, sizeof(message));
  const int devices = host.device_count();
  for (int i = 0; i < devices; ++i) {
    DeviceIdentity identity{};
    if (!host.identity(i, &identity)) continue;
    digest.update(&identity, sizeof(identity));
  }
  std::uint8_t bytes[Md2::kDigestBytes];
  digest.finish(bytes);
  std::memcpy(answer, bytes, sizeof(answer));
}

}  // namespace phos::cudart_tables
