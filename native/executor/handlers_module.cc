// SPDX-License-Identifier: Apache-2.0
// Code images, modules, libraries, functions and kernels.
#include <climits>
#include <cstring>
#include <mutex>

#include "code-images/image.h"
#include "executor/blob_store.h"
#include "executor/handler_tools.h"
#include "gen/executor_handlers.h"
#include "executor/host_arenas.h"
#include "phos/placing.h"

namespace phos::executor {

namespace {

using code_images::LoadableImage;

// Programs ask for a few hundred parameters at most; CUDA allows 4 KiB (32 KiB from 12.1 on).
constexpr std::size_t kMaxParameters = 400;
constexpr std::uint32_t kMaxLogBytes = 1536;

struct LoadOptions {
  std::vector<CUjit_option> options;
  std::vector<void*> values;
  std::vector<char> info_log;
  std::vector<char> error_log;
  std::size_t info_size_at = SIZE_MAX;
  std::size_t error_size_at = SIZE_MAX;
};

// The program's options with buffers of our own for logs.
bool read_options(Session& session, const Command& command, codec::BlobRef options,
                  codec::BlobRef values, LoadOptions& out) {
  std::span<const std::uint32_t> names;
  std::span<const std::uint64_t> numbers;
  if (!array_of(session, command, options, &names) ||
      !array_of(session, command, values, &numbers)) {
    return false;
  }
  if (names.size() != numbers.size() || names.size() > 64) {
    session.protocol_error(command.call(), "options and their values do not match");
    return false;
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto option = static_cast<CUjit_option>(names[i]);
    // Buffers and what is written back are ours; what points into the client is left out.
    if (option == CU_JIT_INFO_LOG_BUFFER || option == CU_JIT_ERROR_LOG_BUFFER ||
        option == CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES ||
        option == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES || option == CU_JIT_WALL_TIME ||
        option == CU_JIT_THREADS_PER_BLOCK || option == CU_JIT_GLOBAL_SYMBOL_NAMES ||
        option == CU_JIT_GLOBAL_SYMBOL_ADDRESSES || option == CU_JIT_GLOBAL_SYMBOL_COUNT) {
      continue;
    }
    out.options.push_back(option);
    // SAFETY: CUDA passes small numbers as pointers here; nothing is dereferenced.
    out.values.push_back(reinterpret_cast<void*>(numbers[i]));
  }
  return true;
}

void add_log(LoadOptions& out, std::vector<char>& log, std::uint32_t bytes, CUjit_option buffer,
             CUjit_option size, std::size_t* size_at) {
  if (bytes == 0) return;
  log.assign(std::min(bytes, kMaxLogBytes), '\0');
  out.options.push_back(size);
  *size_at = out.values.size();
  out.values.push_back(reinterpret_cast<void*>(log.size()));
  out.options.push_back(buffer);
  out.values.push_back(log.data());
}

// strnlen may not be given the null pointer that an empty vector has.
std::size_t log_bytes(const std::vector<char>& log) {
  return log.empty() ? 0 : strnlen(log.data(), log.size());
}

// The image that pieces have brought, in a form a driver takes. The blob must outlive the module.
CUresult image_for(Session& session, std::uint64_t number, Blob* blob, LoadableImage* loadable) {
  {
    const SessionLock lock(session);
    *blob = session.blobs().take(number);
  }
  if (*blob == nullptr) return CUDA_ERROR_INVALID_IMAGE;
  auto made = LoadableImage::from_flat({(*blob)->data(), (*blob)->size()});
  if (!made.ok()) return CUDA_ERROR_INVALID_IMAGE;
  *loadable = std::move(made.value());
  return CUDA_SUCCESS;
}

// Remembers what was loaded from which image, for restore.
void keep_image(Session& session, HandleType type, std::uint64_t wire, const Blob& blob) {
  const SessionLock lock(session);
  Object* object = session.find(type, wire);
  if (object != nullptr) object->image = session.blobs().keep(blob);
}

// Around driver calls that place things. Two helpers do not do that at once, so that their order is
// known. A restore runs on the one thread that holds the session.
class PlacingLock {
 public:
  explicit PlacingLock(Session& session)
      : lock_(session.placing(), std::defer_lock) {
    if (!session.is_held_here()) lock_.lock();
  }

 private:
  std::unique_lock<std::mutex> lock_;
  PlacingScope scope_;
};

struct Parameter {
  std::uint32_t offset;
  std::uint32_t bytes;
};

template <class Ask>
std::vector<Parameter> parameters_of(const Ask& ask) {
  std::vector<Parameter> parameters;
  for (std::size_t i = 0; i < kMaxParameters; ++i) {
    std::size_t offset = 0;
    std::size_t bytes = 0;
    if (ask(i, &offset, &bytes) != CUDA_SUCCESS) break;
    parameters.push_back({static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(bytes)});
  }
  return parameters;
}

template <class Ask>
std::vector<std::int32_t> attributes_of(std::uint32_t count, const Ask& ask) {
  std::vector<std::int32_t> attributes(std::min(count, 64U), INT_MIN);
  for (std::uint32_t i = 0; i < attributes.size(); ++i) {
    int value = 0;
    if (ask(&value, static_cast<CUfunction_attribute>(i)) == CUDA_SUCCESS) attributes[i] = value;
  }
  return attributes;
}

// Names end with a NUL in the payload; it is added here in any case.
bool name_of_symbol(Session& session, const Command& command, codec::BlobRef ref,
                    std::string* name) {
  std::span<const char> text;
  if (!array_of(session, command, ref, &text)) return false;
  name->assign(text.data(), strnlen(text.data(), text.size()));
  return true;
}

// cuModuleGetGlobal and cuLibraryGetGlobal.
template <class Request, class Rep>
void variable(Session& session, const Command& command, Reply& reply, HandleType type,
              std::uint64_t Request::*owner) {
  const auto* request = request_of<Request>(session, command, reply);
  if (request == nullptr) return;
  std::string name;
  if (!name_of_symbol(session, command, request->name, &name)) {
    reply.finish(CUDA_ERROR_INVALID_VALUE);
    return;
  }
  const PlacingLock placing(session);
  CUdeviceptr address = 0;
  std::size_t bytes = 0;
  const CUresult result =
      session.find_variable(type, request->*owner, name, &address, &bytes);
  Rep answer{};
  answer.dptr = address;
  answer.bytes = bytes;
  reply.finish(result, &answer, sizeof(answer));
}

}  // namespace

void handle_phos_image_piece(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_image_piece>(session, command, reply);
  if (request == nullptr) return;
  if (!session.arenas().contains(request->address, request->bytes)) {
    session.protocol_error(command.call(), "a piece of an image lies outside the arenas");
    return;
  }
  bool good = false;
  {
    const SessionLock lock(session);
    // SAFETY: the range lies in an arena that is mapped here and cannot shrink.
    good = session.blobs().piece(request->image, request->total_bytes, request->offset,
                                 reinterpret_cast<const void*>(request->address), request->bytes);
  }
  if (request->release != 0) session.arenas().release_slots(request->address, request->bytes);
  if (!good) {
    session.protocol_error(command.call(), "a piece of an image does not follow the one before");
    return;
  }
  reply.finish(CUDA_SUCCESS);
}

void handle_phos_image_inline(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_image_inline>(session, command, reply);
  if (request == nullptr) return;
  std::span<const std::uint8_t> data;
  if (!array_of(session, command, request->data, &data)) return;
  const SessionLock lock(session);
  if (!session.blobs().piece(request->image, data.size(), 0, data.data(), data.size())) {
    session.protocol_error(command.call(), "an image is empty or too large");
    return;
  }
  reply.finish(CUDA_SUCCESS);
}

void handle_phos_module_load(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_module_load>(session, command, reply);
  if (request == nullptr) return;
  LoadOptions options;
  if (!read_options(session, command, request->options, request->values, options)) {
    reply.finish(CUDA_ERROR_INVALID_VALUE);
    return;
  }
  add_log(options, options.info_log, request->info_log_bytes, CU_JIT_INFO_LOG_BUFFER,
          CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES, &options.info_size_at);
  add_log(options, options.error_log, request->error_log_bytes, CU_JIT_ERROR_LOG_BUFFER,
          CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES, &options.error_size_at);
  Blob blob;
  LoadableImage image;
  CUresult result = image_for(session, request->image, &blob, &image);
  CUmodule module = nullptr;
  const PlacingLock placing(session);
  if (result == CUDA_SUCCESS) {
    result = session.driver().cuModuleLoadDataEx(
        &module, image.data(), static_cast<unsigned int>(options.options.size()),
        options.options.data(), options.values.data());
  }
  if (result == CUDA_SUCCESS) {
    session.create(HandleType::module, request->module, module, command, {});
    keep_image(session, HandleType::module, request->module, blob);
  }
  const codec::Rep_phos_module_load answer{};
  const OutBlob blobs[] = {{options.info_log.data(), log_bytes(options.info_log)},
                           {options.error_log.data(), log_bytes(options.error_log)}};
  finish_with_blobs(session, reply, answer, blobs, result);
}

void handle_phos_library_load(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_library_load>(session, command, reply);
  if (request == nullptr) return;
  LoadOptions options;
  std::span<const std::uint32_t> names;
  std::span<const std::uint64_t> numbers;
  if (!read_options(session, command, request->options, request->values, options) ||
      !array_of(session, command, request->library_options, &names) ||
      !array_of(session, command, request->library_values, &numbers) ||
      names.size() != numbers.size()) {
    reply.finish(CUDA_ERROR_INVALID_VALUE);
    return;
  }
  std::vector<CUlibraryOption> library_options;
  std::vector<void*> library_values;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto option = static_cast<CUlibraryOption>(names[i]);
    // The executor keeps the image itself; a table of host functions would point into the client.
    if (option != CU_LIBRARY_BINARY_IS_PRESERVED) continue;
    library_options.push_back(option);
    library_values.push_back(reinterpret_cast<void*>(numbers[i]));
  }
  Blob blob;
  LoadableImage image;
  CUresult result = image_for(session, request->image, &blob, &image);
  CUlibrary library = nullptr;
  const PlacingLock placing(session);
  if (result == CUDA_SUCCESS) {
    result = session.driver().cuLibraryLoadData(
        &library, image.data(), options.options.data(), options.values.data(),
        static_cast<unsigned int>(options.options.size()), library_options.data(),
        library_values.data(), static_cast<unsigned int>(library_options.size()));
  }
  if (result == CUDA_SUCCESS) {
    session.create(HandleType::library, request->library, library, command, {});
    keep_image(session, HandleType::library, request->library, blob);
  }
  reply.finish(result);
}

void handle_phos_module_function(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_module_function>(session, command, reply);
  if (request == nullptr) return;
  std::string name;
  void* module = nullptr;
  if (!name_of_symbol(session, command, request->name, &name)) {
    reply.finish(CUDA_ERROR_INVALID_VALUE);
    return;
  }
  CUresult result = session.resolve(HandleType::module, request->module, false, &module);
  CUfunction function = nullptr;
  const DriverTable& driver = session.driver();
  const PlacingLock placing(session);
  if (result == CUDA_SUCCESS) {
    result = driver.cuModuleGetFunction(&function, static_cast<CUmodule>(module), name.c_str());
  }
  if (result != CUDA_SUCCESS) {
    reply.finish(result);
    return;
  }
  const std::uint64_t parents[] = {request->module};
  session.create(HandleType::function, request->function, function, command, parents);
  const auto attributes =
      attributes_of(request->attribute_count, [&](int* value, CUfunction_attribute attribute) {
        return driver.cuFuncGetAttribute(value, attribute, function);
      });
  const auto parameters =
      parameters_of([&](std::size_t index, std::size_t* offset, std::size_t* bytes) {
        return driver.cuFuncGetParamInfo(function, index, offset, bytes);
      });
  const OutBlob blobs[] = {{attributes.data(), attributes.size() * sizeof(std::int32_t)},
                           {parameters.data(), parameters.size() * sizeof(Parameter)}};
  finish_with_blobs(session, reply, codec::Rep_phos_module_function{}, blobs);
}

void handle_cuModuleGetGlobal(Session& session, const Command& command, Reply& reply) {
  using Request = codec::Req_cuModuleGetGlobal;
  variable<Request, codec::Rep_cuModuleGetGlobal>(session, command, reply, HandleType::module,
                                                  &Request::hmod);
}

void handle_cuLibraryGetGlobal(Session& session, const Command& command, Reply& reply) {
  using Request = codec::Req_cuLibraryGetGlobal;
  variable<Request, codec::Rep_cuLibraryGetGlobal>(session, command, reply, HandleType::library,
                                                   &Request::library);
}

void handle_phos_library_kernel(Session& session, const Command& command, Reply& reply) {
  const auto* request = request_of<codec::Req_phos_library_kernel>(session, command, reply);
  if (request == nullptr) return;
  std::string name;
  void* library = nullptr;
  if (!name_of_symbol(session, command, request->name, &name)) {
    reply.finish(CUDA_ERROR_INVALID_VALUE);
    return;
  }
  CUresult result = session.resolve(HandleType::library, request->library, false, &library);
  CUkernel kernel = nullptr;
  const DriverTable& driver = session.driver();
  const PlacingLock placing(session);
  if (result == CUDA_SUCCESS) {
    result = driver.cuLibraryGetKernel(&kernel, static_cast<CUlibrary>(library), name.c_str());
  }
  if (result != CUDA_SUCCESS) {
    reply.finish(result);
    return;
  }
  const std::uint64_t parents[] = {request->library};
  session.create(HandleType::kernel, request->kernel, kernel, command, parents);
  const auto attributes =
      attributes_of(request->attribute_count, [&](int* value, CUfunction_attribute attribute) {
        return driver.cuKernelGetAttribute(value, attribute, kernel, session.device());
      });
  const auto parameters =
      parameters_of([&](std::size_t index, std::size_t* offset, std::size_t* bytes) {
        return driver.cuKernelGetParamInfo(kernel, index, offset, bytes);
      });
  const OutBlob blobs[] = {{attributes.data(), attributes.size() * sizeof(std::int32_t)},
                           {parameters.data(), parameters.size() * sizeof(Parameter)}};
  finish_with_blobs(session, reply, codec::Rep_phos_library_kernel{}, blobs);
}

}  // namespace phos::executor
