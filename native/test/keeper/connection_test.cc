// SPDX-License-Identifier: Apache-2.0
#include "connection.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <string>

namespace phos::keeper {
namespace {

class ConnectionTest : public testing::Test {
 protected:
  void SetUp() override {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    connection_ = std::make_unique<Connection>(UniqueFd(ends[0]));
    peer_.reset(ends[1]);
  }

  void send(std::string_view bytes) {
    ASSERT_EQ(::send(peer_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }

  std::unique_ptr<Connection> connection_;
  UniqueFd peer_;
};

TEST_F(ConnectionTest, PutsFramesTogetherByteByByte) {
  const std::string bytes = make_frame(FrameType::stdin_data, 7, "hello") +
                            make_frame(FrameType::status, 8, "");
  Frame frame;
  int frames = 0;
  for (const char byte : bytes) {
    send(std::string_view(&byte, 1));
    ASSERT_TRUE(connection_->receive());
    while (connection_->next(frame)) ++frames;
    if (frames == 1) {
      EXPECT_EQ(frame.payload, "hello");
      EXPECT_EQ(frame.serial, 7U);
    }
  }
  EXPECT_EQ(frames, 2);
  EXPECT_EQ(frame.type, FrameType::status);
}

TEST_F(ConnectionTest, GivesUpOnAPeerThatBreaksTheProtocol) {
  std::string other_version = make_frame(FrameType::status, 1, "");
  other_version[9] = 9;
  std::string too_long = make_frame(FrameType::status, 1, "");
  too_long[3] = '\x7f';
  for (const std::string& bytes : {other_version, too_long}) {
    SetUp();
    send(bytes);
    EXPECT_TRUE(connection_->receive());
    Frame frame;
    EXPECT_FALSE(connection_->next(frame));
    EXPECT_TRUE(connection_->dead());
  }
}

TEST_F(ConnectionTest, NoticesThatThePeerHasGone) {
  peer_.reset();
  EXPECT_FALSE(connection_->receive());
  EXPECT_TRUE(connection_->dead());
}

TEST_F(ConnectionTest, KeepsWhatThePeerDoesNotTakeAndHandsItBack) {
  const std::string chunk(60000, 'x');
  for (int i = 0; i < 40; ++i) connection_->send(FrameType::stdout_data, 0, chunk);
  EXPECT_TRUE(connection_->write_some());
  EXPECT_GT(connection_->queued_bytes(), 0U);
  const auto unsent = connection_->take_unsent();
  ASSERT_FALSE(unsent.empty());
  EXPECT_LT(unsent.size(), 40U);
  EXPECT_EQ(unsent.back().payload, chunk);
  EXPECT_EQ(connection_->queued_bytes(), 0U);
}

}  // namespace
}  // namespace phos::keeper
