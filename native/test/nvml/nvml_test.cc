// SPDX-License-Identifier: Apache-2.0
// NVML's stand-in over pages that the test writes; what changes needs a client and is tested under
// `phos run` (test/e2e/management.test.ts).
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "nvml/nvml_abi.h"
#include "phos/device_page.h"

namespace {

namespace fs = std::filesystem;
using phos::DevicePage;
using phos::nvml::Device;

class Nvml : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/phos-nvml-XXXXXX";
    folder_ = mkdtemp(pattern);
    setenv("PHOS_RUNTIME_DIR", folder_.c_str(), 1);
    library_ = dlopen(PHOS_TEST_NVML, RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(nullptr, library_) << dlerror();
  }
  void TearDown() override {
    if (library_ != nullptr) {
      while (call("nvmlShutdown") == 0) {
      }
      dlclose(library_);
    }
    fs::remove_all(folder_);
  }

  template <class... Arguments>
  int call(const char* name, Arguments... arguments) {
    void* symbol = dlsym(library_, name);
    if (symbol == nullptr) return 13;
    return reinterpret_cast<int (*)(Arguments...)>(symbol)(arguments...);
  }

  void write_page(std::uint32_t ordinal, std::uint32_t bytes = sizeof(DevicePage)) {
    DevicePage page{};
    page.magic = phos::kDevicePageMagic;
    page.bytes = bytes;
    page.ordinal = ordinal;
    std::snprintf(page.name, sizeof page.name, "Device %u", ordinal);
    std::snprintf(page.driver_version, sizeof page.driver_version, "580.1");
    for (std::uint32_t i = 0; i < 16; ++i) {
      page.uuid[i] = static_cast<std::uint8_t>(i * 16 + ordinal);
    }
    page.pci_bus = 0x40 + ordinal;
    page.cuda_version = 13000;
    page.compute_major = 9;
    std::ofstream file(folder_ + "/device-" + std::to_string(ordinal), std::ios::binary);
    file.write(reinterpret_cast<const char*>(&page), sizeof page);
  }

  Device device(unsigned index) {
    Device found = nullptr;
    EXPECT_EQ(0, call("nvmlDeviceGetHandleByIndex_v2", index, &found));
    return found;
  }

  std::string folder_;
  void* library_ = nullptr;
};

TEST_F(Nvml, WithoutPagesThereIsNoDriver) {
  unsigned count = 7;
  EXPECT_EQ(9, call("nvmlInit_v2"));
  EXPECT_EQ(1, call("nvmlDeviceGetCount_v2", &count));
  EXPECT_EQ(1, call("nvmlShutdown"));
}

TEST_F(Nvml, CountsPagesUpToTheFirstThatIsDamaged) {
  write_page(0);
  write_page(1);
  write_page(2, 12);
  write_page(3);
  unsigned count = 0;
  EXPECT_EQ(0, call("nvmlInit_v2"));
  EXPECT_EQ(0, call("nvmlDeviceGetCount_v2", &count));
  EXPECT_EQ(2U, count);
  Device found = nullptr;
  EXPECT_EQ(2, call("nvmlDeviceGetHandleByIndex_v2", 2U, &found));
}

TEST_F(Nvml, IsOpenUntilEveryInitIsShutDown) {
  write_page(0);
  unsigned count = 0;
  EXPECT_EQ(0, call("nvmlInit"));
  EXPECT_EQ(0, call("nvmlInitWithFlags", 0U));
  EXPECT_EQ(0, call("nvmlShutdown"));
  EXPECT_EQ(0, call("nvmlDeviceGetCount", &count));
  EXPECT_EQ(0, call("nvmlShutdown"));
  EXPECT_EQ(1, call("nvmlDeviceGetCount", &count));
}

TEST_F(Nvml, TellsWhoADeviceIs) {
  write_page(0);
  write_page(1);
  ASSERT_EQ(0, call("nvmlInit_v2"));
  const Device second = device(1);
  char text[96] = "";
  EXPECT_EQ(0, call("nvmlDeviceGetName", second, text, 96U));
  EXPECT_STREQ("Device 1", text);
  EXPECT_EQ(7, call("nvmlDeviceGetName", second, text, 8U));
  EXPECT_EQ(0, call("nvmlDeviceGetUUID", second, text, 96U));
  EXPECT_STREQ("GPU-01112131-4151-6171-8191-a1b1c1d1e1f1", text);
  Device again = nullptr;
  EXPECT_EQ(0, call("nvmlDeviceGetHandleByUUID", text, &again));
  EXPECT_EQ(second, again);
  EXPECT_EQ(6, call("nvmlDeviceGetHandleByUUID", "GPU-0", &again));
  for (const char* place : {"00000000:41:00.0", "0000:41:00.0", "41:00"}) {
    again = nullptr;
    EXPECT_EQ(0, call("nvmlDeviceGetHandleByPciBusId_v2", place, &again)) << place;
    EXPECT_EQ(second, again) << place;
  }
  EXPECT_EQ(6, call("nvmlDeviceGetHandleByPciBusId_v2", "0000:42:00.0", &again));
  phos::nvml::PciInfo pci{};
  EXPECT_EQ(0, call("nvmlDeviceGetPciInfo_v3", second, &pci));
  EXPECT_STREQ("00000000:41:00.0", pci.id);
  EXPECT_STREQ("0000:41:00.0", pci.legacy_id);
  EXPECT_EQ(0x41U, pci.bus);
  int major = 0;
  int minor = 9;
  EXPECT_EQ(0, call("nvmlDeviceGetCudaComputeCapability", second, &major, &minor));
  EXPECT_EQ(90, major * 10 + minor);
  EXPECT_EQ(0, call("nvmlSystemGetDriverVersion", text, 96U));
  EXPECT_STREQ("580.1", text);
  EXPECT_EQ(0, call("nvmlSystemGetCudaDriverVersion_v2", &major));
  EXPECT_EQ(13000, major);
}

TEST_F(Nvml, RefusesWhatIsNotItsOwn) {
  write_page(0);
  ASSERT_EQ(0, call("nvmlInit_v2"));
  char text[96] = "";
  unsigned value = 0;
  EXPECT_EQ(2, call("nvmlDeviceGetName", static_cast<Device>(nullptr), text, 96U));
  EXPECT_EQ(2, call("nvmlDeviceGetName", reinterpret_cast<Device>(2), text, 96U));
  EXPECT_EQ(2, call("nvmlDeviceGetIndex", device(0), static_cast<unsigned*>(nullptr)));
  EXPECT_EQ(3, call("nvmlDeviceGetNvLinkState", device(0), 0U, &value));
  EXPECT_EQ(3, call("nvmlDeviceGetFanSpeed", device(0), &value));
  EXPECT_EQ(13, call("nvmlNoSuchFunction"));
  phos::nvml::MemoryV2 memory{};
  EXPECT_EQ(25, call("nvmlDeviceGetMemoryInfo_v2", device(0), &memory));
  // No client library in this process: what changes cannot be asked.
  memory.version = phos::nvml::kMemoryV2;
  EXPECT_EQ(13, call("nvmlDeviceGetMemoryInfo_v2", device(0), &memory));
}

}  // namespace
