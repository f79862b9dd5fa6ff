// SPDX-License-Identifier: Apache-2.0
/** The part of executor_dispatch.cc that is the same whatever the notation says. */
export const EXECUTOR_SUPPORT = `// A part of a reply that follows its fixed part.
struct Part {
  const void* data;
  std::size_t size;
};

constexpr std::size_t kMaxOutputBytes = kReplyInlineBytes / 2;

void refuse(Session& session, Reply& reply, CallId call, const char* what) {
  session.protocol_error(call, what);
  reply.finish(CUDA_ERROR_INVALID_VALUE);
}

// The driver takes a kernel of a library wherever it takes a function.
[[maybe_unused]] HandleType function_or_kernel(std::uint64_t wire) noexcept {
  const bool is_kernel =
      is_handle(wire) && handle_type(wire) == static_cast<std::uint8_t>(HandleType::kernel);
  return is_kernel ? HandleType::kernel : HandleType::function;
}

[[maybe_unused]] bool find_blob(const Command& command, codec::BlobRef ref, bool optional,
                                const std::uint8_t** view) noexcept {
  if (ref.offset == 0) return optional && ref.bytes == 0;
  if (ref.offset % codec::kBlobAlign != 0) return false;
  *view = command.blob(ref.offset, ref.bytes);
  return *view != nullptr;
}

[[maybe_unused]] bool is_terminated(const std::uint8_t* text, std::size_t bytes) noexcept {
  return bytes != 0 && text[bytes - 1] == 0;
}

template <class T>
CUresult resolve_all(Session& session, HandleType type, const std::uint8_t* wires,
                     std::size_t bytes, std::vector<T>* items) {
  items->resize(wires == nullptr ? 0 : bytes / sizeof(std::uint64_t));
  for (std::size_t i = 0; i < items->size(); ++i) {
    std::uint64_t wire = 0;
    std::memcpy(&wire, wires + i * sizeof(wire), sizeof(wire));
    void* real = nullptr;
    const CUresult status = session.resolve(type, wire, false, &real);
    if (status != CUDA_SUCCESS) return status;
    // SAFETY: handles of the driver are as wide as pointers; the session keeps them as such.
    std::memcpy(&(*items)[i], &real, sizeof(T));
  }
  return CUDA_SUCCESS;
}

[[maybe_unused]] void finish_with(Reply& reply, const void* fixed, std::size_t fixed_bytes,
                                  std::span<const Part> parts) {
  alignas(codec::kBlobAlign) std::uint8_t buffer[kReplyInlineBytes];
  const std::size_t bytes = codec::payload_bytes(fixed_bytes, parts);
  if (bytes > sizeof(buffer)) return reply.finish(CUDA_ERROR_INVALID_VALUE);
  codec::write_payload(buffer, fixed, fixed_bytes, parts);
  reply.finish(CUDA_SUCCESS, buffer, bytes);
}
`.split('\n');
