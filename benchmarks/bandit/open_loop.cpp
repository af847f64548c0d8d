// Open-loop load: requests leave at a steady rate whatever the answers do, and the time of each
// is counted from when it should have left, so that a stall of the server is not hidden.
//
//   open_loop HOST_PORT PATH BODIES RATE SECONDS CONNECTIONS
//
// BODIES has one JSON body a line. Prints one JSON object: counts, and percentiles in ms.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <string>
#include <vector>

using Clock = std::chrono::steady_clock;

struct Connection {
  int socket = -1;
  double intended = 0;  // of the request in flight
  std::string in;
};

static void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

static int dial(int port) {
  const int made = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET, to.sin_port = htons(port), to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(made, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) fail("connect");
  const int on = 1;
  ::setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return made;
}

// Whether a whole answer has come: headers with content-length, then the body.
static bool complete(const std::string& in, bool& good) {
  const auto head = in.find("\r\n\r\n");
  if (head == std::string::npos) return false;
  const auto at = in.find("content-length: ");
  if (at == std::string::npos || at > head) std::fprintf(stderr, "no content-length\n"), std::exit(1);
  good = in.compare(9, 3, "200") == 0;
  return in.size() >= head + 4 + std::strtoul(in.c_str() + at + 16, nullptr, 10);
}

int main(int count, char** words) {
  if (count != 7) return std::fprintf(stderr, "usage: see the source\n"), 2;
  const int port = std::atoi(words[1]);
  const std::string path = words[2];
  const double rate = std::atof(words[4]), seconds = std::atof(words[5]);
  std::vector<std::string> requests;
  std::ifstream file(words[3]);
  for (std::string body; std::getline(file, body);)
    requests.push_back("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " +
                       std::to_string(body.size()) + "\r\n\r\n" + body);
  if (requests.empty()) return std::fprintf(stderr, "no bodies\n"), 1;

  std::vector<Connection> connections(std::atoi(words[6]));
  std::deque<Connection*> idle;
  const int poll = ::epoll_create1(0);
  for (auto& each : connections) {
    each.socket = dial(port);
    epoll_event event{EPOLLIN, {&each}};
    ::epoll_ctl(poll, EPOLL_CTL_ADD, each.socket, &event);
    idle.push_back(&each);
  }

  std::vector<double> times;
  std::size_t sent = 0, failed = 0;
  const auto total = static_cast<std::size_t>(rate * seconds);
  const auto start = Clock::now();
  const auto now = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  double last_progress = 0;
  while (times.size() < total) {
    while (sent < total && !idle.empty() && static_cast<double>(sent) / rate <= now()) {
      Connection& use = *idle.front();
      idle.pop_front();
      use.intended = static_cast<double>(sent) / rate;
      use.in.clear();
      const std::string& request = requests[sent++ % requests.size()];
      if (::send(use.socket, request.data(), request.size(), MSG_NOSIGNAL) !=
          static_cast<ssize_t>(request.size()))
        fail("send");
    }
    const double next = static_cast<double>(sent) / rate - now();
    const bool waits = sent < total && !idle.empty();
    epoll_event events[64];
    // Below a millisecond epoll cannot wait; then this looks again and again.
    const int timeout = waits ? (next > 0.002 ? static_cast<int>((next - 0.001) * 1000) : 0) : 100;
    const int ready = ::epoll_wait(poll, events, 64, timeout);
    for (int i = 0; i < ready; ++i) {
      auto& from = *static_cast<Connection*>(events[i].data.ptr);
      char buffer[1 << 16];
      const ssize_t got = ::recv(from.socket, buffer, sizeof buffer, 0);
      if (got <= 0) fail("the server closed a connection");
      from.in.append(buffer, static_cast<std::size_t>(got));
      bool good = false;
      if (!complete(from.in, good)) continue;
      failed += !good;
      last_progress = now();
      times.push_back(last_progress - from.intended);
      idle.push_back(&from);
    }
    if (now() - last_progress > 20) return std::fprintf(stderr, "no answer for 20 s\n"), 1;
  }
  const double wall = now();
  std::sort(times.begin(), times.end());
  const auto at = [&](double share) {
    return times[std::min(times.size() - 1, static_cast<std::size_t>(share * times.size()))] * 1e3;
  };
  std::printf(
      "{\"requests\": %zu, \"failed\": %zu, \"rate\": %.1f, \"p50\": %.3f, \"p90\": %.3f, "
      "\"p99\": %.3f, \"p999\": %.3f, \"max\": %.3f}\n",
      total, failed, total / wall, at(0.5), at(0.9), at(0.99), at(0.999), times.back() * 1e3);
}
