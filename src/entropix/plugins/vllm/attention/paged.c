// Attention signals of the last query of some rows over their keys in vLLM's paged cache on a CPU, in one pass on one
// thread. The same definitions as entropix/signals/attention.py; compiled on first use by compiled.py.

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "exp_negative.h"

enum { COLUMNS, TILES };
#define STRIP 32  // tokens at a time, which every block is a multiple of: enough sums to keep the adders busy
#define TILE 16   // tokens of one tile

struct paged {
    const void * keys;
    const int32_t * table;     // (rows, columns) block numbers
    const int64_t * lengths;   // (rows)
    const float * queries;     // (rows, heads, width), scaled
    double * out;              // (rows, 4)
    int64_t block_stride;      // elements from block to block
    int64_t head_stride;       // elements from key head to key head
    int32_t rows, columns, heads, groups, width, block;
    int32_t order;             // COLUMNS or TILES
    int32_t brief;             // keys are bfloat16, not float32
};

static inline float widened(uint32_t high) {
    float value;
    memcpy(&value, &high, sizeof value);
    return value;
}

// tokens [from, from + STRIP) of one block and key head as float (width, STRIP)
static void strip(const struct paged * p, const char * keys, int from, float * out) {
    const uint16_t * brief = (const uint16_t *) keys;
    const float * full = (const float *) keys;
    if (p->order == TILES) {  // two dimensions of sixteen tokens after two dimensions
        for (int part = 0; part < STRIP; part += TILE) {
            const size_t tile = (size_t) (from + part) * p->width;
            for (int d = 0; d < p->width; d += 2) {
                float * even = out + d * STRIP + part, * odd = even + STRIP;
                for (int t = 0; t < TILE; t++) {
                    const size_t i = tile + (size_t) d * TILE + 2 * t;
                    even[t] = p->brief ? widened((uint32_t) brief[i] << 16) : full[i];
                    odd[t] = p->brief ? widened((uint32_t) brief[i + 1] << 16) : full[i + 1];
                }
            }
        }
        return;
    }
    for (int d = 0; d < p->width; d++, out += STRIP) {
        const size_t i = (size_t) d * p->block + from;
        for (int t = 0; t < STRIP; t++) {
            out[t] = p->brief ? widened((uint32_t) brief[i + t] << 16) : full[i + t];
        }
    }
}

static void score(const struct paged * p, int row, int n, float * keys, float * scores) {
    const int group = p->heads / p->groups, size = p->brief ? 2 : 4;
    for (int g = 0; g < p->groups; g++) {
        for (int from = 0; from < n; from += STRIP) {
            const int64_t number = p->table[(size_t) row * p->columns + from / p->block];
            const int64_t at = number * p->block_stride + g * p->head_stride;
            const int some = n - from < STRIP ? n - from : STRIP;
            strip(p, (const char *) p->keys + at * size, from % p->block, keys);
            for (int h = g * group; h < (g + 1) * group; h++) {
                const float * query = p->queries + ((size_t) row * p->heads + h) * p->width;
                float sums[STRIP] = {0};
                for (int d = 0; d < p->width; d++) {
                    for (int t = 0; t < STRIP; t++) {
                        sums[t] += query[d] * keys[d * STRIP + t];
                    }
                }
                memcpy(scores + (size_t) h * n + from, sums, sizeof(float) * some);
            }
        }
    }
}

// softmax of one head's scores in place; adds to *magnitude and returns the entropy over ln n
static double settle(float * s, int n, double * magnitude) {
    float best = s[0];
    for (int i = 1; i < n; i++) {
        best = s[i] > best ? s[i] : best;
    }
    double m = 0, z = 0, a = 0;
    for (int from = 0; from < n; from += 256) {  // float sums of short runs, double over the runs
        const int to = from + 256 < n ? from + 256 : n;
        float sum = 0, zs = 0, as = 0;
        for (int i = from; i < to; i++) {
            const float d = s[i] - best;
            const float e = exp_negative(d < -87.0f ? -87.0f : d);
            sum += fabsf(s[i]);
            zs += e;
            as += e * d;
            s[i] = e;
        }
        m += sum;
        z += zs;
        a += as;
    }
    const float scale = (float) (1.0 / z);
    for (int i = 0; i < n; i++) {
        s[i] *= scale;
    }
    *magnitude += m;
    const double h = n > 1 ? (log(z) - a / z) / log((double) n) : 0;
    return h < 0 ? 0 : h > 1 ? 1 : h;
}

static void reduce(const struct paged * p, int n, float * scores, float * average, double * entropy, double * out) {
    double magnitude = 0, mean = 0, square = 0, apart = 0;
    memset(average, 0, sizeof(float) * n);
    for (int h = 0; h < p->heads; h++) {
        float * a = scores + (size_t) h * n;
        entropy[h] = settle(a, n, &magnitude);
        mean += entropy[h] / p->heads;
        for (int i = 0; i < n; i++) {
            average[i] += a[i] / p->heads;
        }
    }
    for (int h = 0; h < p->heads; h++) {
        const float * a = scores + (size_t) h * n;
        square += (entropy[h] - mean) * (entropy[h] - mean) / p->heads;
        for (int from = 0; from < n; from += 256) {
            const int to = from + 256 < n ? from + 256 : n;
            float d = 0;
            for (int i = from; i < to; i++) {
                d += fabsf(a[i] - average[i]);
            }
            apart += d;
        }
    }
    out[0] = mean;
    out[1] = square;
    out[2] = 1 - 0.5 * apart / p->heads;
    out[3] = magnitude / ((double) n * p->heads);
}

// false without memory
bool entropix_paged(const struct paged * p) {
    int64_t longest = 1;
    for (int row = 0; row < p->rows; row++) {
        longest = p->lengths[row] > longest ? p->lengths[row] : longest;
    }
    float * keys = malloc(sizeof(float) * (size_t) p->width * STRIP);
    float * scores = malloc(sizeof(float) * (size_t) longest * (p->heads + 1));
    double * entropy = malloc(sizeof(double) * p->heads);
    const bool fine = keys && scores && entropy;
    for (int row = 0; fine && row < p->rows; row++) {
        const int n = (int) p->lengths[row];
        score(p, row, n, keys, scores);
        reduce(p, n, scores, scores + (size_t) p->heads * n, entropy, p->out + 4 * row);
    }
    free(keys);
    free(scores);
    free(entropy);
    return fine;
}
