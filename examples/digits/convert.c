// SPDX-License-Identifier: Apache-2.0
// Turns the 8x8 digits of scikit-learn (CSV on standard input: 64 values 0..16 and a label a line)
// into IDX files in the current folder: the first 1,297 digits to train on, the last 500 held out.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { DIGITS = 1797, TRAIN = 1297, PIXELS = 64 };

static uint8_t images[DIGITS][PIXELS], labels[DIGITS];

static int read_line(int i) {
  for (int k = 0; k <= PIXELS; k++) {
    double value;
    char separator = '\n';
    if (scanf("%lf%c", &value, &separator) < 1 || value < 0 || value > 16) return 0;
    if ((separator == ',') != (k < PIXELS)) return 0;
    if (k < PIXELS)
      images[i][k] = (uint8_t)value;
    else
      labels[i] = (uint8_t)value;
  }
  return 1;
}

static void put_big_endian(FILE *f, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8)
    (void)fputc((int)(value >> shift & 255), f);
}

static int write_pair(const char *image_name, const char *label_name, int first, int count) {
  FILE *f = fopen(image_name, "wb"), *g = fopen(label_name, "wb");
  if (f == NULL || g == NULL) return 0;
  put_big_endian(f, 0x00000803);
  put_big_endian(f, (uint32_t)count);
  put_big_endian(f, 8);
  put_big_endian(f, 8);
  put_big_endian(g, 0x00000801);
  put_big_endian(g, (uint32_t)count);
  size_t ok = fwrite(images[first], PIXELS, (size_t)count, f) == (size_t)count &&
              fwrite(&labels[first], 1, (size_t)count, g) == (size_t)count;
  return fclose(f) == 0 && fclose(g) == 0 && ok;
}

int main(void) {
  for (int i = 0; i < DIGITS; i++)
    if (!read_line(i)) {
      (void)fprintf(stderr, "convert: digit %d is not 64 values 0..16 and a label\n", i);
      return 1;
    }
  if (!write_pair("train-images.idx3-ubyte", "train-labels.idx1-ubyte", 0, TRAIN) ||
      !write_pair("test-images.idx3-ubyte", "test-labels.idx1-ubyte", TRAIN, DIGITS - TRAIN)) {
    (void)fprintf(stderr, "convert: cannot write the IDX files\n");
    return 1;
  }
  return 0;
}
