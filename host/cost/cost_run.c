// SPDX-License-Identifier: Apache-2.0
// One run: gather, sequencer and drain as recurrences over event times. Time 0 is the cycle in
// which the engine is started; the counters hold cycles 1 .. the one in which the run ends.
#include "host/cost/cost_internal.h"

enum {
  QUEUE = 8,         // passes that the sequencer reads ahead
  NEXT_ENTRY = 3,    // from taking one tile entry (or the start) to having the next
  FIRST_SEGMENT = 2, // the gather's first
  PASS_LATENCY = 2   // from reading a pass to its first K entry
};

typedef struct {
  const bl_config *config;
  const bl_descriptor *d;
  const bl_tile *tiles;
  const bl_pass *passes;
  // reading ahead
  uint64_t entry;       // a tile entry was taken
  uint64_t pass_read;   // a pass was read last
  uint64_t pops[QUEUE]; // when the last passes left the queue
  uint64_t pass_count;
  // steps
  uint64_t issued; // the last step
  uint64_t full;   // hand-over of the half that steps read
  // credit of the datapath
  uint64_t tile_end; // last step of a tile; 0: none yet
  uint32_t slot;
  bool opens;              // the next tile opens a group
  uint64_t taken, written; // groups
  uint64_t group_done[2];  // of group g in [g % 2]
  uint64_t walk_end;       // the writer's last cycle on a group
  bl_cost *cost;
} engine;

static uint64_t max64(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}

// The earliest cycle for a tile's last step.
static uint64_t tile_ready(const engine *e) {
  const uint64_t spaced = e->tile_end == 0 ? 0 : e->tile_end + e->config->rows;
  if (!e->opens || e->taken < 2) return spaced;
  return max64(spaced, e->group_done[e->taken % 2] + 1);
}

// The codes of a group's last tile are on their way; then its words are written.
static void write_group(engine *e) {
  const uint32_t rows = e->d->gather_mode == 2 ? 1 : e->config->rows;
  const uint64_t filled = e->issued + 2 * (uint64_t)e->config->rows + e->config->cols + 6;
  const uint64_t start = max64(filled, e->walk_end) + 1;
  e->walk_end = start + (uint64_t)rows * e->d->out_planes - 1;
  e->group_done[e->written++ % 2] = e->walk_end + 1;
}

static void end_tile(engine *e, bool last_tile, bool final) {
  const bool closes = last_tile || e->slot == e->config->lanes / e->config->cols - 1;
  e->tile_end = e->issued;
  if (final && e->opens) e->taken++;
  if (final && closes) write_group(e);
  e->slot = last_tile ? e->d->out_slot : closes ? 0 : e->slot + 1;
  e->opens = closes;
}

// Reads a pass ahead; gives the first cycle in which its K entries may be read.
static uint64_t read_pass(engine *e, bool first_of_tile) {
  if (first_of_tile) e->entry = max64(e->entry + NEXT_ENTRY, e->pass_read);
  e->pass_read = max64(e->pass_read, e->entry) + 1;
  if (e->pass_count >= QUEUE)
    e->pass_read = max64(e->pass_read, e->pops[e->pass_count % QUEUE] + 1);
  return e->pass_read + PASS_LATENCY;
}

// The steps of one pass. last: of its tile.
static void issue_pass(engine *e, uint64_t ready, uint32_t count, bool last) {
  uint64_t *reasons = e->cost->counters;
  const uint64_t steps = count == 0 ? 1 : count;
  const uint64_t sent = max64(e->issued, ready); // the first step's K entry is read
  const uint64_t arrived = max64(sent, e->full);
  reasons[BL_COUNTER_GATHER] += arrived - sent;
  const uint64_t earliest = arrived + steps; // of the last step
  e->pops[e->pass_count++ % QUEUE] = steps == 1 ? sent : earliest - 1;
  e->issued = last ? max64(earliest, tile_ready(e)) : earliest;
  reasons[BL_COUNTER_REQUANT] += e->issued - earliest;
  reasons[BL_COUNTER_ISSUE] += steps;
}

// All channel tiles on one fill.
static void compute(engine *e, bool final) {
  for (uint32_t t = 0; t < e->d->tiles; t++) {
    const bl_tile *tile = &e->tiles[e->d->tile_base + t];
    const bl_pass *pass = &e->passes[tile->pass_base];
    for (uint32_t p = 0; p <= tile->pass_last; p++) {
      const uint64_t ready = read_pass(e, p == 0);
      issue_pass(e, ready, pass[p].count, p == tile->pass_last);
    }
    end_tile(e, t + 1 == e->d->tiles, final);
  }
}

static bl_status check(const bl_config *config, const bl_descriptor *d, const bl_tile *tiles,
                       bl_error *err) {
  if (config->rows > BL_COST_MAX_ROWS || config->rows < 2)
    return bl_fail(err, BL_ERR_RANGE, "cost: %u rows, the model takes 2..%u", config->rows,
                   (unsigned)BL_COST_MAX_ROWS);
  if (d->images == 0 || d->out_h == 0 || d->out_w == 0 || d->kernel_h == 0 || d->kernel_w == 0 ||
      d->dilation_w == 0 || d->step_w == 0 || d->pool_h == 0 || d->pool_w == 0 || d->tiles == 0 ||
      d->in_planes == 0 || d->in_words == 0 || d->out_planes == 0)
    return bl_fail(err, BL_ERR_RANGE, "cost: a descriptor field is 0 that has to be at least 1");
  if ((uint64_t)d->tile_base + d->tiles > config->tile_depth)
    return bl_fail(err, BL_ERR_RANGE, "cost: tiles %u..%u, the list has %u", d->tile_base,
                   d->tile_base + d->tiles - 1u, config->tile_depth);
  for (uint32_t t = 0; t < d->tiles; t++) {
    const bl_tile *tile = &tiles[d->tile_base + t];
    if ((uint64_t)tile->pass_base + tile->pass_last >= config->pass_depth)
      return bl_fail(err, BL_ERR_RANGE, "cost: tile %u has passes %u..%u, the list has %u", t,
                     tile->pass_base, tile->pass_base + tile->pass_last, config->pass_depth);
  }
  return BL_OK;
}

// The run's end: the last group is written and its words are in the signature. That takes the
// signature a cycle longer where the group's last row is a pixel.
static void finish(const engine *e, bool whole) {
  uint64_t *c = e->cost->counters;
  c[BL_COUNTER_CYCLES] = e->walk_end + (whole ? 3 : 2);
  c[BL_COUNTER_DRAIN] =
      c[BL_COUNTER_CYCLES] - c[BL_COUNTER_ISSUE] - c[BL_COUNTER_REQUANT] - c[BL_COUNTER_GATHER];
}

bl_status bl_cost_run(const bl_config *config, const bl_descriptor *d, const bl_tile *tiles,
                      const bl_pass *passes, bl_cost *cost, bl_error *err) {
  *cost = (bl_cost){0};
  BL_TRY(check(config, d, tiles, err));
  bl_cost_gather gather;
  bl_cost_gather_init(&gather, config, d);
  engine e = {.config = config, .d = d, .tiles = tiles, .passes = passes, .cost = cost};
  e.slot = d->out_slot;
  e.opens = true;
  const uint64_t offsets = (uint64_t)d->pool_h * d->pool_w;
  uint64_t released[2] = {0, 0}; // last steps on the last two fills
  uint64_t filled = FIRST_SEGMENT - 1, cycles, fills = 0;
  uint32_t rows = 0;
  for (uint64_t pixel = 0; pixel < gather.pixels; pixel += rows) {
    rows = bl_cost_gather_tile(&gather, pixel, &cycles);
    for (uint64_t k = 0; k < offsets; k++, fills++) {
      filled = max64(filled, released[fills % 2]) + 1 + cycles;
      e.full = filled;
      compute(&e, k + 1 == offsets);
      released[fills % 2] = e.issued;
    }
  }
  finish(&e, rows == gather.rows);
  return BL_OK;
}
