// SPDX-License-Identifier: Apache-2.0
// An image's folder written anew from what it refers to, so that it needs no other image.
#include <atomic>

#include "executor/file.h"
#include "executor/image.h"

namespace phos::executor {

namespace {

// Every chunk of an index, run by run.
class IndexSource : public ChunkSource {
 public:
  IndexSource(const ImageIndex& index, std::uint32_t lanes)
      : index_(index), reader_(index, lanes, true), buffers_(lanes), changes_(lanes) {
    for (std::size_t first = 0; first < index.chunks.size();) {
      runs_.push_back(first);
      first += reader_.run_length(first);
    }
  }

  bool next(std::uint32_t lane, Piece& piece) override {
    const std::size_t number = next_.fetch_add(1);
    if (number >= runs_.size()) return false;
    const std::size_t first = runs_[number];
    const std::size_t count = reader_.run_length(first);
    if (!buffers_[lane]) buffers_[lane] = make_page_buffer(kLaneBytes + kPieceSlack);
    reader_.read(lane, first, count, buffers_[lane].get());
    piece = Piece{};
    piece.address = index_.chunks[first].address;
    piece.flags = index_.chunks[first].flags & kChunkGlobal;
    piece.data = buffers_[lane].get();
    changes_[lane].clear();
    for (std::size_t i = first; i < first + count; ++i) {
      piece.bytes += index_.chunks[i].bytes;
      changes_[lane].push_back(index_.chunks[i].change);
    }
    piece.change = changes_[lane].data();
    return true;
  }
  void release(std::uint32_t, const Piece&) override {}

 private:
  const ImageIndex& index_;
  ChunkReader reader_;
  std::vector<PageBuffer> buffers_;
  std::vector<std::vector<Digest>> changes_;
  std::vector<std::size_t> runs_;
  std::atomic<std::size_t> next_{0};
};

}  // namespace

SaveResult compact_image(const std::string& from, const std::string& to, WriteOptions options,
                         const Progress& progress) {
  const ImageIndex index = read_index(from, options.key);
  IndexSource source(index, options.lanes);
  options.seed = index.seed;
  ImageWriter writer(to, std::move(options));
  writer.drain(source, index.device_bytes, progress);
  return writer.finish(index.snapshot);
}

}  // namespace phos::executor
