// SPDX-License-Identifier: Apache-2.0
// Rows of operands and results that scripts/ptx/vectors.ts computed with exact arithmetic, a dozen
// for every form of every instruction whose result PTX defines, on both builds of the handlers.
#include <fstream>

#include "support.h"

namespace phos::sim::ptx::test {
namespace {

constexpr std::size_t kMostSources = 4;

struct Group {
  std::string form;
  std::vector<std::vector<std::uint64_t>> rows;  // sources, then the result
};

std::vector<Group> read_groups() {
  std::ifstream file(std::string(PHOS_PTX_VECTORS) + "/results.txt");
  std::vector<Group> groups;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("@ ")) {
      groups.push_back({line.substr(2), {}});
    } else if (!line.empty() && line[0] != '#') {
      std::vector<std::uint64_t> row;
      const char* at = line.c_str();
      for (char* end = nullptr;; at = end) {
        const std::uint64_t value = std::strtoull(at, &end, 16);
        if (end == at) {
          break;
        }
        row.push_back(value);
      }
      groups.back().rows.push_back(row);
    }
  }
  return groups;
}

// Operands are lists such as "%r0, %h1, %p0"; each source is brought in through a word.
std::string kernel_of(const std::string& form) {
  std::string body =
      "mov.u32 %r40, %tid.x;\nmul.wide.u32 %d10, %r40, 64;\n"
      "ld.param.u64 %d11, [io];\nadd.u64 %d11, %d11, %d10;\n";
  std::vector<std::string> names;
  for (std::size_t at = form.find(" %"); at != std::string::npos; at = form.find(" %", at + 1)) {
    const std::size_t end = form.find_first_of(",;", at);
    names.push_back(form.substr(at + 1, end == std::string::npos ? end : end - at - 1));
  }
  for (std::size_t i = 1; i < names.size(); ++i) {
    const char kind = names[i][1];
    body += "ld.global.u64 %d12, [%d11+" + std::to_string(8 * (i - 1)) + "];\n";
    body += kind == 'h' ? "cvt.u16.u64 " : kind == 'r' ? "cvt.u32.u64 "
            : kind == 'p' ? "setp.ne.u64 " : "mov.u64 ";
    body += names[i] + ", %d12" + (kind == 'p' ? ", 0;\n" : ";\n");
  }
  const char result = names[0][1];
  body += form + ";\n";
  body += result == 'h' ? "cvt.u64.u16 %d13, " : result == 'r' ? "cvt.u64.u32 %d13, "
          : result == 'p' ? "selp.u64 %d13, 1, 0, " : "mov.u64 %d13, ";
  body += names[0] + ";\nst.global.u64 [%d11+56], %d13;\nret;\n";
  return ".version 9.0\n.target sm_86\n.address_size 64\n.visible .entry k(.param .u64 io)\n{\n"
         ".reg .pred %p<8>;\n.reg .b16 %h<16>;\n.reg .b32 %r<48>;\n.reg .b64 %d<16>;\n" +
         body + "}\n";
}

void expect_rows(const Group& group) {
  Device device;
  ASSERT_TRUE(device.load(kernel_of(group.form))) << group.form;
  std::vector<std::uint64_t> io(group.rows.size() * 8, 0);
  for (std::size_t i = 0; i < group.rows.size(); ++i) {
    std::copy(group.rows[i].begin(), group.rows[i].end() - 1, io.begin() + std::ptrdiff_t(8 * i));
  }
  const std::uint64_t at = device.upload(io);
  const Fault fault = device.run("k", {}, {static_cast<std::uint32_t>(group.rows.size()), 1, 1},
                                 Arguments(at));
  ASSERT_EQ(fault.cuda_error, 0) << group.form << ": " << fault.text();
  const auto results = device.download<std::uint64_t>(at, io.size());
  for (std::size_t i = 0; i < group.rows.size(); ++i) {
    const std::vector<std::uint64_t>& row = group.rows[i];
    std::string operands;
    for (std::size_t k = 0; k + 1 < row.size(); ++k) {
      char text[20];
      std::snprintf(text, sizeof text, " %llx", static_cast<unsigned long long>(row[k]));
      operands += text;
    }
    EXPECT_EQ(results[8 * i + 7], row.back())
        << group.form << " of" << operands << std::hex << ": got " << results[8 * i + 7]
        << ", expected " << row.back();
  }
}

TEST(PtxVectors, EveryFormGivesTheExactResult) {
  const std::vector<Group> groups = read_groups();
  ASSERT_GT(groups.size(), 1000U);
  const Isa before = active_isa();
  for (const Isa isa : {Isa::baseline, Isa::v3}) {
    if (!force_isa(isa)) {
      continue;
    }
    for (const Group& group : groups) {
      ASSERT_FALSE(group.rows.empty() || group.rows[0].size() > kMostSources + 1) << group.form;
      expect_rows(group);
    }
  }
  force_isa(before);
}

}  // namespace
}  // namespace phos::sim::ptx::test
