/* Asks for a device: device_check NAME. Prints the status and what the library says. */
#include <gptq.h>
#include <stdio.h>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const gptq_status status = gptq_device_check(argv[1]);
  printf("%d %s\n", (int)status, status == GPTQ_OK ? "" : gptq_last_error_message());
  return 0;
}
