// SPDX-License-Identifier: Apache-2.0
// A phosd of 100 lines for tests of the client library: answers agents at RUNTIME/attach.sock and
// runs one executor over the simulated device, in this process. Prints "ready" when it listens,
// ends at SIGTERM, or when its standard input closes.
//   host RUNTIME [SECONDS]
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

#include "drivers/sim/sim.h"
#include "executor/executor.h"
#include "executor/seqpacket.h"

namespace {

using namespace phos;
using executor::Executor;

std::atomic<bool> g_end{false};

// Hello in, Welcome out; the executor is told whom to expect.
void welcome(int socket, Executor& executor, const std::string& ring_path) {
  executor::Message message;
  for (int i = 0; i < 1000; ++i) {
    const executor::Receive received = executor::receive(socket, &message);
    if (received == executor::Receive::message) break;
    if (received != executor::Receive::nothing) return;
    usleep(1000);
  }
  const auto* hello = executor::message_as<wire::Hello>(message);
  if (hello == nullptr) return;
  executor::ExpectedClient expected;
  std::memcpy(expected.client_id, hello->client_id, sizeof(expected.client_id));
  std::memset(expected.token, 7, sizeof(expected.token));
  expected.uid = geteuid();
  executor.expect(expected);
  wire::Welcome answer{};
  std::memset(answer.token, 7, sizeof(answer.token));
  std::snprintf(answer.executor_path, sizeof(answer.executor_path), "%s", ring_path.c_str());
  executor::send_message(socket, wire::Type::welcome, hello->header.serial, answer);
  pollfd gone{socket, POLLIN, 0};
  poll(&gone, 1, 1000);
}

void on_event(const executor::ExecutorEvent& event) {
  std::fprintf(stderr, "host: event %d %s %s %u\n", static_cast<int>(event.type),
               event.name.c_str(), event.detail.c_str(), event.status);
}

int serve(const std::string& runtime) {
  executor::ExecutorOptions options;
  if (!sim::fill_driver_table(options.driver)) return 1;
  options.driver_name = "sim";
  options.id = "e1";
  options.ring_socket_path = runtime + "/ring.sock";
  Executor executor(options, on_event);
  executor.start();
  const executor::Descriptor listener = executor::listen_at(runtime + "/attach.sock");
  std::thread drain([&] {
    while (!g_end.load()) executor.run(100);
  });
  std::puts("ready");
  std::fflush(stdout);
  while (!g_end.load()) {
    pollfd waiting[2] = {{listener.get(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    poll(waiting, 2, 100);
    if ((waiting[1].revents & (POLLHUP | POLLIN)) != 0) break;
    const executor::Descriptor connection = executor::accept_from(listener.get());
    if (connection) welcome(connection.get(), executor, options.ring_socket_path);
  }
  g_end.store(true);
  executor.stop();
  drain.join();
  const executor::ExecutorStatus status = executor.status();
  std::fprintf(stderr, "host: %llu commands, %llu deferred errors %s\n",
               static_cast<unsigned long long>(status.commands),
               static_cast<unsigned long long>(status.deferred_errors),
               status.last_deferred_error.c_str());
  executor.close();
  // An unexpected error of an async command is a fault of phos: the tests see it here.
  return status.deferred_errors == 0 ? 0 : 3;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  signal(SIGPIPE, SIG_IGN);
  struct sigaction action {};
  action.sa_handler = [](int) { g_end.store(true); };
  sigaction(SIGTERM, &action, nullptr);
  return serve(argv[1]);
}
