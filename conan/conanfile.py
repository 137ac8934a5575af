# The dependencies of sandbox-executor for systems without Debian 12's packages. See README.md beside this file.
from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMakeDeps, CMakeToolchain
from conan.tools.gnu import PkgConfigDeps

required_conan_version = ">=2.0"


class SandboxExecutorDependencies(ConanFile):
    settings = "os", "arch", "compiler", "build_type"
    default_options = {
        # Asio and Beast are compiled by the project itself, spdlog and fmt are used as headers.
        "boost/*:header_only": True,
        "spdlog/*:header_only": True,
        "fmt/*:header_only": True,
    }

    def requirements(self):
        self.requires("boost/1.81.0")
        self.requires("nlohmann_json/[>=3.11 <4]")
        self.requires("spdlog/1.11.0")
        self.requires("fmt/9.1.0")
        self.requires("libsodium/[>=1.0.18 <2]")
        self.requires("zlib/[>=1.2.11 <2]")
        self.requires("openssl/[>=3.0 <4]")
        self.requires("cli11/[>=2.3 <3]")
        self.test_requires("gtest/[>=1.12 <2]")

    def validate(self):
        check_min_cppstd(self, 20)

    def generate(self):
        CMakeDeps(self).generate()
        PkgConfigDeps(self).generate()  # libsodium is looked up by pkg-config
        toolchain = CMakeToolchain(self)
        toolchain.user_presets_path = False  # the project has presets of its own
        toolchain.generate()
