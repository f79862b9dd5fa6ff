// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target without libFuzzer, for compilers that have none: replays every file named, or
// in a folder named, and then, with --seconds N, tries changed copies of them. That mutation is
// blind: it does not know what code an input reached, and finds much less than libFuzzer does.
// The input under test is in $PHOS_FUZZ_LAST (default: fuzz-last-input) when the target crashes.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "target.h"

namespace {

using Bytes = std::vector<std::uint8_t>;
constexpr std::size_t kMaxBytes = 64U << 10;
constexpr unsigned kHangSeconds = 60;

const Bytes* g_input = nullptr;

// Only what POSIX allows in a handler.
extern "C" void keep_input(int signal) {
  const char* path = ::getenv("PHOS_FUZZ_LAST");
  const int fd = ::open(path == nullptr ? "fuzz-last-input" : path,
                        O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd >= 0 && g_input != nullptr && ::write(fd, g_input->data(), g_input->size()) < 0) {
    ::_exit(98);
  }
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

Bytes read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return Bytes{std::istreambuf_iterator<char>(file), {}};
}

void test(const Bytes& input) {
  g_input = &input;
  ::alarm(kHangSeconds);  // a target that hangs ends by SIGALRM, and its input is kept
  LLVMFuzzerTestOneInput(input.data(), input.size());
  ::alarm(0);
}

Bytes changed(const std::vector<Bytes>& seeds, std::mt19937_64& random) {
  const auto pick = [&random](std::size_t below) {
    return below == 0 ? 0 : static_cast<std::size_t>(random() % below);
  };
  Bytes bytes = seeds[pick(seeds.size())];
  const std::size_t changes = 1 + pick(6);
  for (std::size_t i = 0; i < changes; ++i) {
    const std::size_t at = pick(bytes.size());
    const auto place = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (bytes.empty() ? 4 : pick(6)) {
      case 0: bytes[at] = static_cast<std::uint8_t>(random()); break;
      case 1: bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1U << pick(8))); break;
      case 2: {  // a number at an edge
        const std::uint64_t edge = (1ULL << pick(64)) - pick(2);
        std::memcpy(&bytes[at], &edge, std::min(sizeof(edge) >> pick(4), bytes.size() - at));
        break;
      }
      case 3:
        bytes.erase(place, place + static_cast<std::ptrdiff_t>(
                                       std::min(1 + pick(32), bytes.size() - at)));
        break;
      case 4: {
        const Bytes& other = seeds[pick(seeds.size())];
        const std::size_t from = pick(other.size());
        const std::size_t count = std::min(1 + pick(64), other.size() - from);
        bytes.insert(place, other.begin() + static_cast<std::ptrdiff_t>(from),
                     other.begin() + static_cast<std::ptrdiff_t>(from + count));
        break;
      }
      default: bytes.resize(at); break;
    }
  }
  if (bytes.size() > kMaxBytes) bytes.resize(kMaxBytes);
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Bytes> seeds;
  double seconds = 0;
  std::uint64_t seed = 1;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--seconds" && i + 1 < argc) {
      seconds = std::strtod(argv[++i], nullptr);
    } else if (argument == "--seed" && i + 1 < argc) {
      seed = std::strtoull(argv[++i], nullptr, 10);
    } else if (std::filesystem::is_directory(argument)) {
      std::vector<std::filesystem::path> paths;
      for (const auto& entry : std::filesystem::directory_iterator(argument)) {
        paths.push_back(entry.path());
      }
      std::sort(paths.begin(), paths.end());
      for (const auto& path : paths) seeds.push_back(read_file(path));
    } else {
      seeds.push_back(read_file(argument));
    }
  }
  for (const int signal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGALRM}) {
    ::signal(signal, keep_input);
  }
  for (const Bytes& input : seeds) test(input);
  std::fprintf(stderr, "fuzz: replayed %zu inputs\n", seeds.size());
  if (seeds.empty()) return 1;  // a corpus that is not found is not one that passed
  std::mt19937_64 random(seed);
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  std::uint64_t tried = 0;
  for (; Clock::now() < end; ++tried) test(changed(seeds, random));
  if (seconds > 0) {
    std::fprintf(stderr, "fuzz: %llu changed inputs, blindly (no libFuzzer here), seed %llu\n",
                 static_cast<unsigned long long>(tried), static_cast<unsigned long long>(seed));
  }
  return 0;
}
