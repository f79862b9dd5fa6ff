// SPDX-License-Identifier: Apache-2.0
// The engine against the inventory of what ptxas accepts for sm_86 (scripts/ptx/inventory.ts):
// every form loads, or is named in refused.txt and refused with error 218 and its line.
#include <fstream>
#include <unordered_set>

#include "support.h"

namespace phos::sim::ptx::test {
namespace {

std::vector<std::string> lines_of(const char* name) {
  std::ifstream file(std::string(PHOS_PTX_VECTORS) + "/" + name);
  EXPECT_TRUE(file.good()) << name;
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line[0] != '#') {
      lines.push_back(line);
    }
  }
  return lines;
}

std::string module_of(const std::string& instruction) {
  return ".version 9.0\n.target sm_86\n.address_size 64\n"
         ".global .align 16 .b8 gl[64];\n.const .align 16 .b8 ct[64];\n"
         ".visible .entry k(.param .align 16 .b8 par[64])\n{\n"
         ".reg .pred %p<8>;\n.reg .b16 %h<16>;\n.reg .b32 %r<48>;\n.reg .b64 %d<16>;\n"
         ".reg .b128 %q<8>;\n.reg .b8 %b<8>;\n.shared .align 16 .b8 sh[64];\n"
         ".local .align 16 .b8 loc[64];\nL:\n" + instruction + ";\n}\n";
}

TEST(PtxForms, WhatPtxasAcceptsLoads) {
  const std::vector<std::string> forms = lines_of("forms.txt");
  const std::vector<std::string> listed = lines_of("refused.txt");
  const std::unordered_set<std::string> refused(listed.begin(), listed.end());
  EXPECT_GT(forms.size(), 5000U);
  std::size_t loaded = 0;
  for (const std::string& form : forms) {
    const Module::Loaded result = Module::load(module_of(form));
    const bool expected = refused.contains(form);
    EXPECT_EQ(result.module == nullptr, expected) << form << ": " << result.diagnostic.message;
    if (result.module == nullptr) {
      EXPECT_EQ(result.diagnostic.cuda_error, kErrorInvalidPtx) << form;
      EXPECT_EQ(result.diagnostic.line, 17U) << form;
    }
    loaded += result.module != nullptr ? 1 : 0;
  }
  EXPECT_EQ(loaded + refused.size(), forms.size());
}

}  // namespace
}  // namespace phos::sim::ptx::test
