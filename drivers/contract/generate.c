// SPDX-License-Identifier: Apache-2.0
// Writes the generated forms of contract.def:
//   generate header | source | verilog | markdown   > file
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { CONFIG_FIELDS = 13, ACC_W_FIELD = 3 }; // of CONFIG, its name left out

#define IGNORE2(a, b)
#define IGNORE3(a, b, c)
#define IGNORE4(a, b, c, d)
#define IGNORE5(a, b, c, d, e)

typedef struct {
  const char *name;
  long value;
  const char *comment;
  const char *access;
} entry;

typedef struct {
  const char *record, *name, *comment;
  unsigned bits;
  bool is_signed;
  unsigned lsb; // filled by place_fields
} field;

typedef struct {
  const char *name;
  unsigned value[CONFIG_FIELDS];
} config;

// Each list below includes the table once with one macro live.
#define CONFIG(...)
#define FIELD(a, b, c, d, e)
#define OPCODE(a, b, c)
#define STATUS(a, b, c)
#define COUNTER(a, b)
#define REGISTER(a, b, c, d)
#define CONSTANT(a, b, c) {#a, b, c, NULL},
static const entry constants[] = {
#include "drivers/contract/contract.def"
};
#undef CONSTANT
#define CONSTANT IGNORE3
#undef OPCODE
#define OPCODE(a, b, c) {#a, b, c, NULL},
static const entry opcodes[] = {
#include "drivers/contract/contract.def"
};
#undef OPCODE
#define OPCODE IGNORE3
#undef STATUS
#define STATUS(a, b, c) {#a, b, c, NULL},
static const entry statuses[] = {
#include "drivers/contract/contract.def"
};
#undef STATUS
#define STATUS IGNORE3
#undef COUNTER
#define COUNTER(a, b) {#a, 0, b, NULL},
static const entry counters[] = {
#include "drivers/contract/contract.def"
};
#undef COUNTER
#define COUNTER IGNORE2
#undef REGISTER
#define REGISTER(a, b, c, d) {#a, b, d, c},
static const entry registers[] = {
#include "drivers/contract/contract.def"
};
#undef REGISTER
#define REGISTER IGNORE4
#undef FIELD
#define FIELD(a, b, c, d, e) {#a, #b, e, c, d, 0},
static field fields[] = {
#include "drivers/contract/contract.def"
};
#undef FIELD
#define FIELD IGNORE5
#undef CONFIG
#define CONFIG(a, ...) {#a, {__VA_ARGS__}},
static const config configs[] = {
#include "drivers/contract/contract.def"
};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static const char *const config_fields[CONFIG_FIELDS] = {
    "rows",       "cols",       "lanes",     "acc_w",     "weight_depth", "param_depth", "k_depth",
    "pass_depth", "tile_depth", "act_depth", "row_depth", "table_depth",  "gather_words"};
static const char *const record_names[] = {"param", "k", "pass", "tile", "descriptor"};
static unsigned record_bits[COUNT(record_names)]; // used bits, rounded up to a word when asked

static const char *upper(const char *text) {
  static char buffers[4][64];
  static unsigned next;
  char *out = buffers[next++ % 4];
  size_t n = strlen(text) < 63 ? strlen(text) : 63;
  for (size_t i = 0; i < n; i++)
    out[i] = (char)toupper((unsigned char)text[i]);
  out[n] = '\0';
  return out;
}

static unsigned record_words(size_t record) {
  return (record_bits[record] + 31) / 32;
}

static void place_fields(void) {
  for (size_t r = 0; r < COUNT(record_names); r++) {
    bool aligned = strcmp(record_names[r], "param") != 0;
    unsigned at = 0;
    for (size_t f = 0; f < COUNT(fields); f++) {
      if (strcmp(fields[f].record, record_names[r]) != 0) continue;
      if (aligned && at % 32 + fields[f].bits > 32) at = (at + 31) / 32 * 32;
      fields[f].lsb = at;
      at += fields[f].bits;
    }
    record_bits[r] = at;
  }
}

static const char *c_type(const field *f) {
  unsigned size = f->bits <= 8 ? 0 : f->bits <= 16 ? 1 : f->bits <= 32 ? 2 : 3;
  static const char *const types[2][4] = {{"uint8_t", "uint16_t", "uint32_t", "uint64_t"},
                                          {"int8_t", "int16_t", "int32_t", "int64_t"}};
  return types[f->is_signed][size];
}

static void header_enum(const char *title, const char *prefix, const entry *list, size_t count) {
  printf("// %s\nenum {\n", title);
  for (size_t i = 0; i < count; i++)
    printf("  %s%s = 0x%lX, // %s\n", prefix, list[i].name, list[i].value, list[i].comment);
  printf("};\n\n");
}

static void header_records(void) {
  for (size_t r = 0; r < COUNT(record_names); r++) {
    const char *name = record_names[r];
    printf("typedef struct {\n");
    for (size_t f = 0; f < COUNT(fields); f++)
      if (strcmp(fields[f].record, name) == 0)
        printf("  %s %s; // %u bits: %s\n", c_type(&fields[f]), fields[f].name, fields[f].bits,
               fields[f].comment);
    printf("} bl_%s;\n\nenum { BL_%s_WORDS = %u };\n", name, upper(name), record_words(r));
    printf("// Packs into words; false when a field's value does not fit its width.\n");
    printf("bool bl_%s_pack(const bl_%s *record, uint32_t words[BL_%s_WORDS]);\n", name, name,
           upper(name));
    printf("void bl_%s_unpack(const uint32_t words[BL_%s_WORDS], bl_%s *record);\n\n", name,
           upper(name), name);
  }
}

static void write_header(void) {
  printf("// SPDX-License-Identifier: Apache-2.0\n"
         "// Generated from drivers/contract/contract.def by `make contract`; do not edit.\n"
         "#ifndef BITLOOM_DRIVERS_BL_CONTRACT_H\n#define BITLOOM_DRIVERS_BL_CONTRACT_H\n\n"
         "#include <stdbool.h>\n#include <stdint.h>\n\n");
  header_enum("Constants", "BL_CONTRACT_", constants, COUNT(constants));
  header_enum("Opcodes", "BL_OP_", opcodes, COUNT(opcodes));
  header_enum("Status of an answer", "BL_STATUS_", statuses, COUNT(statuses));
  printf("// Counters, in the order of the COUNTERS answer\nenum {\n");
  for (size_t i = 0; i < COUNT(counters); i++)
    printf("  BL_COUNTER_%s = %zu, // %s\n", counters[i].name, i, counters[i].comment);
  printf("  BL_COUNTER_COUNT = %zu\n};\n\n", COUNT(counters));
  header_enum("Registers, byte offsets", "BL_REG_", registers, COUNT(registers));
  printf("// A device configuration: array shape, accumulator bits, memory depths in words.\n"
         "typedef struct {\n  const char *name;\n");
  for (size_t i = 0; i < CONFIG_FIELDS; i++)
    printf("  uint32_t %s;\n", config_fields[i]);
  printf("} bl_config;\n\nenum {\n");
  for (size_t i = 0; i < COUNT(configs); i++)
    printf("  BL_CONFIG_%s = %zu,\n", upper(configs[i].name), i);
  printf("  BL_CONFIG_COUNT = %zu\n};\nextern const bl_config BL_CONFIGS[BL_CONFIG_COUNT];\n\n",
         COUNT(configs));
  header_records();
  printf("#endif\n");
}

static const char source_head[] =
    "// SPDX-License-Identifier: Apache-2.0\n"
    "// Generated from drivers/contract/contract.def by `make contract`; do not edit.\n"
    "#include \"drivers/bl_contract.h\"\n\n"
    "// Puts the low `bits` of value at bit `lsb`; the words start as zero.\n"
    "static void put(uint32_t *words, unsigned lsb, unsigned bits, uint64_t value) {\n"
    "  for (unsigned b = 0; b < bits; b++)\n"
    "    words[(lsb + b) / 32] |= (uint32_t)((value >> b) & 1u) << ((lsb + b) % 32);\n"
    "}\n\n"
    "static uint64_t get(const uint32_t *words, unsigned lsb, unsigned bits) {\n"
    "  uint64_t value = 0;\n"
    "  for (unsigned b = 0; b < bits; b++)\n"
    "    value |= (uint64_t)((words[(lsb + b) / 32] >> ((lsb + b) % 32)) & 1u) << b;\n"
    "  return value;\n"
    "}\n\n"
    "static int64_t get_signed(const uint32_t *words, unsigned lsb, unsigned bits) {\n"
    "  uint64_t sign = (uint64_t)1 << (bits - 1);\n"
    "  return (int64_t)(get(words, lsb, bits) ^ sign) - (int64_t)sign;\n"
    "}\n\n"
    "static bool fits(uint64_t value, unsigned bits) {\n"
    "  return value >> bits == 0;\n"
    "}\n\n"
    "static bool fits_signed(int64_t value, unsigned bits) {\n"
    "  int64_t half = (int64_t)1 << (bits - 1);\n"
    "  return value >= -half && value < half;\n"
    "}\n\n";

static void source_record(size_t r) {
  const char *name = record_names[r];
  printf("bool bl_%s_pack(const bl_%s *record, uint32_t words[BL_%s_WORDS]) {\n", name, name,
         upper(name));
  printf("  for (unsigned i = 0; i < BL_%s_WORDS; i++)\n    words[i] = 0;\n  bool ok = true;\n",
         upper(name));
  for (size_t i = 0; i < COUNT(fields); i++) {
    const field *f = &fields[i];
    if (strcmp(f->record, name) != 0) continue;
    printf("  put(words, %u, %u, (uint64_t)record->%s);\n", f->lsb, f->bits, f->name);
    printf("  ok = ok && fits%s(record->%s, %u);\n", f->is_signed ? "_signed" : "", f->name,
           f->bits);
  }
  printf("  return ok;\n}\n\n");
  printf("void bl_%s_unpack(const uint32_t words[BL_%s_WORDS], bl_%s *record) {\n", name,
         upper(name), name);
  for (size_t i = 0; i < COUNT(fields); i++) {
    const field *f = &fields[i];
    if (strcmp(f->record, name) != 0) continue;
    printf("  record->%s = (%s)get%s(words, %u, %u);\n", f->name, c_type(f),
           f->is_signed ? "_signed" : "", f->lsb, f->bits);
  }
  printf("}\n\n");
}

static void write_source(void) {
  printf("%sconst bl_config BL_CONFIGS[BL_CONFIG_COUNT] = {\n", source_head);
  for (size_t i = 0; i < COUNT(configs); i++) {
    printf("    {\"%s\"", configs[i].name);
    for (size_t k = 0; k < CONFIG_FIELDS; k++)
      printf(", %u", configs[i].value[k]);
    printf("},\n");
  }
  printf("};\n\n");
  for (size_t r = 0; r < COUNT(record_names); r++)
    source_record(r);
}

static void verilog_values(const char *prefix, const entry *list, size_t count, const char *base) {
  for (size_t i = 0; i < count; i++)
    printf("`define BITLOOM_%s%s %s%lx // %s\n", prefix, list[i].name, base, list[i].value,
           list[i].comment);
  printf("\n");
}

static void write_verilog(void) {
  printf("// SPDX-License-Identifier: Apache-2.0\n"
         "// Generated from drivers/contract/contract.def by `make contract`; do not edit.\n"
         "`ifndef BITLOOM_CONTRACT_VH\n`define BITLOOM_CONTRACT_VH\n\n");
  verilog_values("", constants, COUNT(constants), "32'h");
  verilog_values("OP_", opcodes, COUNT(opcodes), "8'h");
  verilog_values("STATUS_", statuses, COUNT(statuses), "8'h");
  for (size_t i = 0; i < COUNT(counters); i++)
    printf("`define BITLOOM_COUNTER_%s %zu // %s\n", counters[i].name, i, counters[i].comment);
  printf("`define BITLOOM_COUNTER_COUNT %zu\n\n", COUNT(counters));
  verilog_values("REG_", registers, COUNT(registers), "8'h");
  for (size_t i = 0; i < COUNT(configs); i++)
    for (size_t k = 0; k < CONFIG_FIELDS; k++)
      printf("`define BITLOOM_CONFIG_%s_%s %u\n", upper(configs[i].name), upper(config_fields[k]),
             configs[i].value[k]);
  for (size_t r = 0; r < COUNT(record_names); r++) {
    printf("\n`define BITLOOM_%s_BITS %u\n", upper(record_names[r]), record_words(r) * 32);
    for (size_t f = 0; f < COUNT(fields); f++) {
      if (strcmp(fields[f].record, record_names[r]) != 0) continue;
      const char *record = upper(record_names[r]);
      const char *name = upper(fields[f].name);
      printf("`define BITLOOM_%s_%s_LSB %u\n`define BITLOOM_%s_%s_W %u\n", record, name,
             fields[f].lsb, record, name, fields[f].bits);
    }
  }
  printf("\n`endif\n");
}

static void markdown_values(const char *title, const entry *list, size_t count) {
  printf("## %s\n| name | value | meaning |\n| --- | --- | --- |\n", title);
  for (size_t i = 0; i < count; i++)
    printf("| %s | 0x%02lX | %s%s%s |\n", list[i].name, list[i].value,
           list[i].access == NULL ? "" : list[i].access, list[i].access == NULL ? "" : ": ",
           list[i].comment);
  printf("\n");
}

static void write_markdown(void) {
  printf("<!-- Generated from drivers/contract/contract.def by `make contract`; do not edit. -->\n"
         "# The contract in numbers\n\nWhat each entry does is in [device.md](device.md).\n\n");
  markdown_values("Constants", constants, COUNT(constants));
  markdown_values("Opcodes", opcodes, COUNT(opcodes));
  markdown_values("Status", statuses, COUNT(statuses));
  printf("## Counters\n| index | name | meaning |\n| --- | --- | --- |\n");
  for (size_t i = 0; i < COUNT(counters); i++)
    printf("| %zu | %s | %s |\n", i, counters[i].name, counters[i].comment);
  printf("\n");
  markdown_values("Registers (AXI4-Lite, byte offsets)", registers, COUNT(registers));
  printf("## Configurations\n| name |");
  for (size_t k = 0; k < CONFIG_FIELDS; k++)
    printf(" %s |", config_fields[k]);
  printf("\n| --- |");
  for (size_t k = 0; k < CONFIG_FIELDS; k++)
    printf(" --- |");
  for (size_t i = 0; i < COUNT(configs); i++) {
    printf("\n| %s |", configs[i].name);
    for (size_t k = 0; k < CONFIG_FIELDS; k++)
      printf(" %u |", configs[i].value[k]);
  }
  printf("\n\n## Records\n| record | field | word | bits | signed | meaning |\n"
         "| --- | --- | --- | --- | --- | --- |\n");
  for (size_t f = 0; f < COUNT(fields); f++)
    printf("| %s | %s | %u | %u..%u | %s | %s |\n", fields[f].record, fields[f].name,
           fields[f].lsb / 32, fields[f].lsb % 32 + fields[f].bits - 1, fields[f].lsb % 32,
           fields[f].is_signed ? "yes" : "", fields[f].comment);
}

static long constant(const char *name) {
  for (size_t i = 0; i < COUNT(constants); i++)
    if (strcmp(constants[i].name, name) == 0) return constants[i].value;
  return 0;
}

static bool acc_w_fits(void) {
  const long least = constant("LEAST_ACC_W"), most = constant("MOST_ACC_W");
  bool fits = true;
  for (size_t i = 0; i < COUNT(configs); i++) {
    long acc_w = (long)configs[i].value[ACC_W_FIELD];
    if (acc_w >= least && acc_w <= most) continue;
    (void)fprintf(stderr, "contract.def: configuration %s: acc_w of %ld; use %ld to %ld\n",
                  configs[i].name, acc_w, least, most);
    fits = false;
  }
  return fits;
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    void (*write)(void);
  } forms[] = {{"header", write_header},
               {"source", write_source},
               {"verilog", write_verilog},
               {"markdown", write_markdown}};
  if (!acc_w_fits()) return 1;
  place_fields();
  for (size_t i = 0; argc == 2 && i < COUNT(forms); i++) {
    if (strcmp(argv[1], forms[i].name) != 0) continue;
    forms[i].write();
    return fflush(stdout) == 0 ? 0 : 1;
  }
  (void)fprintf(stderr, "usage: generate header|source|verilog|markdown > file\n");
  return 2;
}
