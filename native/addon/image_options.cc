// SPDX-License-Identifier: Apache-2.0
#include "addon/image_options.h"

#include <cstring>
#include <string>

namespace phos::addon {

namespace {

using executor::ImageKey;

constexpr std::int64_t kMaxCompressLevel = 19;  // of zstd, without its memory-hungry ones

Napi::Object object_at(const Napi::CallbackInfo& info, std::size_t index) {
  if (!info[index].IsObject()) throw Napi::TypeError::New(info.Env(), "options must be an object");
  return info[index].As<Napi::Object>();
}

[[noreturn]] void refuse(const Napi::Object& from, const char* name) {
  throw Napi::TypeError::New(from.Env(), std::string("option ") + name + " is malformed");
}

std::int64_t integer(const Napi::Object& from, const char* name, std::int64_t least,
                     std::int64_t most) {
  const Napi::Value value = from.Get(name);
  if (!value.IsNumber()) refuse(from, name);
  const std::int64_t number = value.As<Napi::Number>().Int64Value();
  if (number < least || number > most) refuse(from, name);
  return number;
}

bool boolean(const Napi::Object& from, const char* name) {
  const Napi::Value value = from.Get(name);
  if (!value.IsBoolean()) refuse(from, name);
  return value.As<Napi::Boolean>().Value();
}

std::optional<ImageKey> key(const Napi::Object& from) {
  const Napi::Value value = from.Get("key");
  if (value.IsNull()) return std::nullopt;
  ImageKey result{};
  if (!value.IsBuffer()) refuse(from, "key");
  const auto buffer = value.As<Napi::Buffer<std::uint8_t>>();
  if (buffer.Length() != result.size()) refuse(from, "key");
  std::memcpy(result.data(), buffer.Data(), result.size());
  return result;
}

}  // namespace

executor::WriteOptions write_options_at(const Napi::CallbackInfo& info, std::size_t index) {
  const Napi::Object from = object_at(info, index);
  executor::WriteOptions options;
  options.lanes = static_cast<std::uint32_t>(integer(from, "lanes", 1, executor::kMaxLanes));
  options.compress = static_cast<int>(integer(from, "compress", 0, kMaxCompressLevel));
  options.content = boolean(from, "content");
  options.share = boolean(from, "share");
  options.key = key(from);
  const Napi::Value parent = from.Get("parent");
  if (!parent.IsNull()) {
    if (!parent.IsString()) refuse(from, "parent");
    options.parent = parent.As<Napi::String>().Utf8Value();
  }
  const Napi::Value donors = from.Get("donors");
  if (!donors.IsArray()) refuse(from, "donors");
  const auto list = donors.As<Napi::Array>();
  for (std::uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value donor = list.Get(i);
    if (!donor.IsString()) refuse(from, "donors");
    options.donors.push_back(donor.As<Napi::String>().Utf8Value());
  }
  return options;
}

executor::ReadOptions read_options_at(const Napi::CallbackInfo& info, std::size_t index) {
  const Napi::Object from = object_at(info, index);
  executor::ReadOptions options;
  options.lanes = static_cast<std::uint32_t>(integer(from, "lanes", 1, executor::kMaxLanes));
  options.content = boolean(from, "content");
  options.key = key(from);
  return options;
}

}  // namespace phos::addon
