// SPDX-License-Identifier: Apache-2.0
#include "executor/image_seal.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "executor/failure.h"

namespace phos::executor {

namespace {

[[noreturn]] void refuse(const char* what) {
  throw Failure(Code::internal, std::string("libcrypto failed at ") + what +
                                    "; free memory and try again.");
}

// One for the process, leaked: threads may still encrypt while it ends. A context of its own reads
// no openssl.cnf, so the machine's configuration cannot change what an image is.
struct Library {
  OSSL_LIB_CTX* context = OSSL_LIB_CTX_new();
  EVP_MD* sha256 = EVP_MD_fetch(context, "SHA256", nullptr);
  EVP_CIPHER* aes = EVP_CIPHER_fetch(context, "AES-256-GCM", nullptr);
  EVP_KDF* hkdf = EVP_KDF_fetch(context, "HKDF", nullptr);
};

const Library& library() {
  static const Library* const instance = new Library;
  if (instance->sha256 == nullptr || instance->aes == nullptr || instance->hkdf == nullptr) {
    refuse("loading its algorithms");
  }
  return *instance;
}

void derive(const ImageKey& key, const std::uint8_t (&salt)[16], std::string_view info,
            std::uint8_t* out, std::size_t bytes) {
  EVP_KDF_CTX* context = EVP_KDF_CTX_new(library().hkdf);
  if (context == nullptr) refuse("key derivation");
  // SAFETY: OSSL_PARAM takes pointers to non-const and only reads through these.
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, const_cast<char*>("SHA256"), 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY,
                                        const_cast<std::uint8_t*>(key.data()), key.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, const_cast<std::uint8_t*>(salt),
                                        sizeof(salt)),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, const_cast<char*>(info.data()),
                                        info.size()),
      OSSL_PARAM_construct_end()};
  const int done = EVP_KDF_derive(context, out, bytes, params);
  EVP_KDF_CTX_free(context);
  if (done != 1) refuse("key derivation");
}

struct Nonce {
  std::uint8_t bytes[12];
};

Nonce nonce_of(const SealedAs& as) noexcept {
  Nonce nonce{};
  std::memcpy(nonce.bytes, &as.lane, sizeof(as.lane));
  std::memcpy(nonce.bytes + sizeof(as.lane), &as.offset, sizeof(as.offset));
  return nonce;
}

// libcrypto counts in int; a body may be larger.
constexpr std::size_t kStepBytes = std::size_t{1} << 30;

using Update = int (*)(EVP_CIPHER_CTX*, unsigned char*, int*, const unsigned char*, int);

bool run_over(Update update, EVP_CIPHER_CTX* cipher, std::uint8_t* data, std::size_t bytes) {
  int done = 0;
  for (std::size_t at = 0; at < bytes; at += kStepBytes) {
    const auto step = static_cast<int>(std::min(kStepBytes, bytes - at));
    if (update(cipher, data + at, &done, data + at, step) != 1 || done != step) return false;
  }
  return true;
}

}  // namespace

Sha256 sha256_of(const void* data, std::size_t bytes) {
  Sha256 hash{};
  unsigned int size = 0;
  if (EVP_Digest(data, bytes, hash.data(), &size, library().sha256, nullptr) != 1 ||
      size != hash.size()) {
    refuse("hashing");
  }
  return hash;
}

struct Sealer::Context {
  EVP_CIPHER_CTX* cipher = EVP_CIPHER_CTX_new();
  ~Context() { EVP_CIPHER_CTX_free(cipher); }
};

Sealer::Sealer(const ImageKey& key, const std::uint8_t (&image_id)[16])
    : context_(std::make_unique<Context>()) {
  std::memcpy(image_id_, image_id, sizeof(image_id_));
  derive(key, image_id, "phos image v2 seal", key_.data(), key_.size());
  derive(key, image_id, "phos image v2 check", key_check_.data(), key_check_.size());
}

Sealer::Sealer(const Sealer& other)
    : key_(other.key_), key_check_(other.key_check_), context_(std::make_unique<Context>()) {
  std::memcpy(image_id_, other.image_id_, sizeof(image_id_));
}

Sealer::~Sealer() { OPENSSL_cleanse(key_.data(), key_.size()); }

SealedAs Sealer::as(std::uint32_t lane, std::uint64_t offset, std::uint32_t bytes,
                    std::uint32_t flags) const noexcept {
  SealedAs result{};
  std::memcpy(result.image_id, image_id_, sizeof(image_id_));
  result.offset = offset;
  result.lane = lane;
  result.bytes = bytes;
  result.flags = flags;
  return result;
}

void Sealer::seal(const SealedAs& as, std::uint8_t* data, std::size_t bytes,
                  std::uint8_t (&tag)[16]) {
  EVP_CIPHER_CTX* cipher = context_->cipher;
  const Nonce nonce = nonce_of(as);
  std::uint8_t rest[16];  // GCM leaves nothing over; libcrypto wants a place for it
  int done = 0;
  const bool ok =
      EVP_EncryptInit_ex2(cipher, library().aes, key_.data(), nonce.bytes, nullptr) == 1 &&
      EVP_EncryptUpdate(cipher, nullptr, &done, reinterpret_cast<const std::uint8_t*>(&as),
                        sizeof(as)) == 1 &&
      run_over(EVP_EncryptUpdate, cipher, data, bytes) &&
      EVP_EncryptFinal_ex(cipher, rest, &done) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, sizeof(tag), tag) == 1;
  if (!ok) refuse("encrypting");
}

bool Sealer::open(const SealedAs& as, std::uint8_t* data, std::size_t bytes,
                  const std::uint8_t (&tag)[16]) {
  EVP_CIPHER_CTX* cipher = context_->cipher;
  const Nonce nonce = nonce_of(as);
  std::uint8_t rest[16];
  std::uint8_t expected[16];
  std::memcpy(expected, tag, sizeof(expected));
  int done = 0;
  const bool ok =
      EVP_DecryptInit_ex2(cipher, library().aes, key_.data(), nonce.bytes, nullptr) == 1 &&
      EVP_DecryptUpdate(cipher, nullptr, &done, reinterpret_cast<const std::uint8_t*>(&as),
                        sizeof(as)) == 1 &&
      run_over(EVP_DecryptUpdate, cipher, data, bytes) &&
      EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_SET_TAG, sizeof(expected), expected) == 1;
  if (!ok) refuse("decrypting");
  return EVP_DecryptFinal_ex(cipher, rest, &done) == 1;
}

}  // namespace phos::executor
