# Toolchain of the preset arm64: Debian's cross compiler, and qemu-user to run what it makes. What is built with it links
# neither PCRE2 nor utf8proc: those that are found are this machine's, good for their headers alone.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
