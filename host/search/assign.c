// SPDX-License-Identifier: Apache-2.0
// Variables: x[g][i] is 1 where group g takes choice i; for each pair of groups y[i][j] is the
// product of two of them. The rows sum over j of y[i][j] = x[first][i], and the same over i, make
// y that product wherever x is whole, with the tightest bound of all linear forms (Adams, Sherali
// 1986), so that y needs not be declared whole.
#include "host/search/assign.h"

#include <glpk.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_NODES = 20000, MOST_COLUMNS = 1 << 20 };

typedef struct {
  const bl_assign_problem *p;
  glp_prob *lp;
  uint32_t *first; // [group_count + pair_count] column of a group's or pair's first variable
  int columns;
  int *index; // of one row, from 1 on
  double *value;
} model;

static uint32_t pair_size(const bl_assign_problem *p, uint32_t pair) {
  return p->choices[p->pairs[pair].first] * p->choices[p->pairs[pair].second];
}

static void add_up(const bl_assign_problem *p, const uint32_t *choice, double sums[BL_CRITERIA]) {
  for (uint32_t k = 0; k < BL_CRITERIA; k++) {
    sums[k] = 0;
    for (uint32_t g = 0; g < p->group_count; g++)
      sums[k] += p->table[k][g][choice[g]];
    for (uint32_t n = 0; n < p->pair_count; n++) {
      const bl_assign_pair *pair = &p->pairs[n];
      if (pair->table[k] != NULL)
        sums[k] +=
            pair->table[k][choice[pair->first] * p->choices[pair->second] + choice[pair->second]];
    }
  }
}

// What a column adds to criterion k.
static double coefficient(const model *m, uint32_t k, uint32_t block, uint32_t at) {
  const bl_assign_problem *p = m->p;
  if (block < p->group_count) return p->table[k][block][at];
  const double *table = p->pairs[block - p->group_count].table[k];
  return table == NULL ? 0 : table[at];
}

static uint32_t block_size(const bl_assign_problem *p, uint32_t block) {
  return block < p->group_count ? p->choices[block] : pair_size(p, block - p->group_count);
}

static void add_columns(model *m) {
  const bl_assign_problem *p = m->p;
  (void)glp_add_cols(m->lp, m->columns);
  for (uint32_t b = 0; b < p->group_count + p->pair_count; b++)
    for (uint32_t i = 0; i < block_size(p, b); i++) {
      const int column = (int)(m->first[b] + i);
      if (b < p->group_count)
        glp_set_col_kind(m->lp, column, GLP_BV);
      else
        glp_set_col_bnds(m->lp, column, GLP_DB, 0, 1);
    }
}

static void add_row(model *m, int length, double value) {
  const int row = glp_add_rows(m->lp, 1);
  glp_set_row_bnds(m->lp, row, GLP_FX, value, value);
  glp_set_mat_row(m->lp, row, length, m->index, m->value);
}

static void put(model *m, int *length, uint32_t column, double value) {
  ++*length;
  m->index[*length] = (int)column;
  m->value[*length] = value;
}

static void add_group_rows(model *m) {
  for (uint32_t g = 0; g < m->p->group_count; g++) {
    int length = 0;
    for (uint32_t i = 0; i < m->p->choices[g]; i++)
      put(m, &length, m->first[g] + i, 1);
    add_row(m, length, 1);
  }
}

static void add_pair_rows(model *m) {
  const bl_assign_problem *p = m->p;
  for (uint32_t n = 0; n < p->pair_count; n++) {
    const uint32_t a = p->pairs[n].first, b = p->pairs[n].second, y = m->first[p->group_count + n];
    for (uint32_t i = 0; i < p->choices[a]; i++) {
      int length = 0;
      for (uint32_t j = 0; j < p->choices[b]; j++)
        put(m, &length, y + i * p->choices[b] + j, 1);
      put(m, &length, m->first[a] + i, -1);
      add_row(m, length, 0);
    }
    for (uint32_t j = 0; j < p->choices[b]; j++) {
      int length = 0;
      for (uint32_t i = 0; i < p->choices[a]; i++)
        put(m, &length, y + i * p->choices[b] + j, 1);
      put(m, &length, m->first[b] + j, -1);
      add_row(m, length, 0);
    }
  }
}

static void add_limit(model *m, uint32_t k, double limit) {
  int length = 0;
  for (uint32_t b = 0; b < m->p->group_count + m->p->pair_count; b++)
    for (uint32_t i = 0; i < block_size(m->p, b); i++) {
      const double c = coefficient(m, k, b, i);
      if (c != 0) put(m, &length, m->first[b] + i, c);
    }
  const int row = glp_add_rows(m->lp, 1);
  // A hair's breadth for sums that reach the limit exactly.
  glp_set_row_bnds(m->lp, row, GLP_UP, 0, limit + 1e-9 * fabs(limit));
  glp_set_mat_row(m->lp, row, length, m->index, m->value);
}

static void set_objective(model *m, uint32_t k) {
  glp_set_obj_dir(m->lp, GLP_MIN);
  for (uint32_t b = 0; b < m->p->group_count + m->p->pair_count; b++)
    for (uint32_t i = 0; i < block_size(m->p, b); i++)
      glp_set_obj_coef(m->lp, (int)(m->first[b] + i), coefficient(m, k, b, i));
}

static bl_status no_memory(bl_error *err) {
  return bl_fail(err, BL_ERR_MEMORY, "search: no memory for the integer program");
}

static bl_status check(const bl_assign_problem *p, const bl_assign_options *o, uint64_t *columns,
                       bl_error *err) {
  bool sound =
      p->group_count >= 1 && p->group_count <= BL_ASSIGN_MOST_GROUPS && o->objective < BL_CRITERIA;
  *columns = 0;
  for (uint32_t g = 0; sound && g < p->group_count; g++) {
    sound = p->choices[g] >= 1 && p->choices[g] <= BL_ASSIGN_MOST_CHOICES;
    *columns += p->choices[g];
  }
  for (uint32_t n = 0; sound && n < p->pair_count; n++) {
    const bl_assign_pair *pair = &p->pairs[n];
    sound = pair->first < p->group_count && pair->second < p->group_count &&
            pair->first != pair->second && *columns <= MOST_COLUMNS;
    if (sound) *columns += pair_size(p, n);
  }
  if (sound && *columns <= MOST_COLUMNS) return BL_OK;
  return bl_fail(err, BL_ERR_RANGE, "search: an integer program of %u groups is beyond the limits",
                 (unsigned)p->group_count);
}

static bl_status open_model(const bl_assign_problem *p, uint64_t columns, model *m, bl_error *err) {
  const uint32_t blocks = p->group_count + p->pair_count;
  *m = (model){.p = p,
               .columns = (int)columns,
               .first = calloc(blocks, sizeof *m->first),
               .index = calloc(columns + 1, sizeof *m->index),
               .value = calloc(columns + 1, sizeof *m->value)};
  if (m->first == NULL || m->index == NULL || m->value == NULL) return no_memory(err);
  uint32_t next = 1;
  for (uint32_t b = 0; b < blocks; b++) {
    m->first[b] = next;
    next += block_size(p, b);
  }
  (void)glp_term_out(GLP_OFF);
  m->lp = glp_create_prob();
  add_columns(m);
  add_group_rows(m);
  add_pair_rows(m);
  return BL_OK;
}

static void close_model(model *m) {
  if (m->lp != NULL) glp_delete_prob(m->lp);
  free(m->first);
  free(m->index);
  free(m->value);
}

// Ends the search by the size of its tree, not by the clock, so that every machine ends the same.
static void count_nodes(glp_tree *tree, void *most) {
  int active, current, total;
  glp_ios_tree_size(tree, &active, &current, &total);
  if (total > *(const int *)most) glp_ios_terminate(tree);
}

// True where there is a solution.
static bool solve(model *m, uint32_t nodes, bool *proven) {
  int most = (int)(nodes == 0 ? MOST_NODES : nodes);
  glp_iocp options;
  glp_init_iocp(&options);
  options.presolve = GLP_ON;
  options.gmi_cuts = options.cov_cuts = GLP_ON;
  options.cb_func = count_nodes;
  options.cb_info = &most;
  (void)glp_intopt(m->lp, &options);
  const int status = glp_mip_status(m->lp);
  *proven = status == GLP_OPT;
  return status == GLP_OPT || status == GLP_FEAS;
}

static void read_choice(const model *m, uint32_t *choice) {
  for (uint32_t g = 0; g < m->p->group_count; g++)
    for (uint32_t i = 0; i < m->p->choices[g]; i++)
      if (glp_mip_col_val(m->lp, (int)(m->first[g] + i)) > 0.5) choice[g] = i;
}

// One program: criterion `objective` under those limits that are finite. *found: it has a solution.
static bl_status minimise(const bl_assign_problem *p, const bl_assign_options *o, uint64_t columns,
                          uint32_t *choice, bl_assigned *result, bool *found, bl_error *err) {
  model m;
  bl_status status = open_model(p, columns, &m, err);
  if (status == BL_OK) {
    set_objective(&m, o->objective);
    for (uint32_t k = 0; k < BL_CRITERIA; k++)
      if (isfinite(o->limits[k])) add_limit(&m, k, o->limits[k]);
    *found = solve(&m, o->nodes, &result->proven);
    if (*found) read_choice(&m, choice);
    if (*found) add_up(p, choice, result->sums);
  }
  close_model(&m);
  return status;
}

// Which limit cannot be met, alone or beside those before it, and what can be reached instead.
static bl_status explain(const bl_assign_problem *p, const bl_assign_options *o, uint64_t columns,
                         uint32_t *choice, bl_error *err) {
  bl_assign_options least = {.limits = {INFINITY, INFINITY, INFINITY}, .nodes = o->nodes};
  bool others = false;
  for (uint32_t k = 0; k < BL_CRITERIA; k++) {
    if (!isfinite(o->limits[k])) continue;
    bl_assigned result;
    bool found = false;
    least.objective = k;
    BL_TRY(minimise(p, &least, columns, choice, &result, &found, err));
    if (!found) break;
    if (result.sums[k] > o->limits[k] + 1e-9 * fabs(o->limits[k]))
      return bl_fail(err, BL_ERR_RANGE, "%s of %.10g cannot be reached%s: the least is %.10g",
                     o->names[k], o->limits[k], others ? " beside the other limits" : "",
                     result.sums[k]);
    least.limits[k] = o->limits[k];
    others = true;
  }
  return bl_fail(err, BL_ERR_UNSUPPORTED,
                 "the integer program has no solution within its limit of nodes; give fewer "
                 "choices");
}

bl_status bl_assign(const bl_assign_problem *problem, const bl_assign_options *options,
                    uint32_t *choice, bl_assigned *result, bl_error *err) {
  uint64_t columns;
  BL_TRY(check(problem, options, &columns, err));
  memset(choice, 0, problem->group_count * sizeof *choice);
  bool found = false;
  BL_TRY(minimise(problem, options, columns, choice, result, &found, err));
  return found ? BL_OK : explain(problem, options, columns, choice, err);
}
