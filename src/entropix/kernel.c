/* What every decoded token pays for, a row at a time: two passes over the vocabulary, and the draw.
 *
 * Right after a model's forward nothing of ours is in the processor's cache, so what counts is how few times memory
 * is touched: NumPy needs eight passes and two temporaries of the vocabulary's size for the entropies, this needs the
 * logits twice. The draw is some twenty array operations on a few numbers there, and one call here. entropix/native.py
 * compiles it; signals/logits.py, sampling/window.py and sampling/choose.py say what it computes and do the same in
 * NumPy where there is no compiler.
 */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "exp_negative.h"

#define CHUNK 1024
#define PIECE (8 * CHUNK)
#define BLOCK 64
#define LANES 32
#define FLOOR (-80.0f)
#define MOST 64

/* The largest of n numbers; NaN counts as none. Lanes side by side, because without -ffinite-math-only compilers do
 * not vectorise a maximum along the data. */
static inline float maximum(const float *x, int64_t n) {
    float lanes[LANES], top = -INFINITY;
    int64_t i = 0;
    for (int j = 0; j < LANES; j++) lanes[j] = -INFINITY;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
    for (int j = 0; j < LANES; j++) top = lanes[j] > top ? lanes[j] : top;
    for (; i < n; i++) top = x[i] > top ? x[i] : top;
    return top;
}

/* out[0..2]: entropy, varentropy, log-sum-exp; all NaN where a logit is NaN or +inf or none is finite. */
void entropix_entropies(const float *z, int64_t n, double *out) {
    float top = -INFINITY;
    int64_t around = 0; /* where the piece begins that holds the likeliest token */
    for (int64_t start = 0; start < n; start += PIECE) {
        float most = maximum(z + start, n - start < PIECE ? n - start : PIECE);
        if (most > top) top = most, around = start;
    }
    out[0] = out[1] = out[2] = NAN;
    if (!isfinite(top)) return;
    /* Σe, Σe·d/Σe, Σe·(d − mean)² so far (Chan, Golub, LeVeque). The likeliest token is a piece of its own: added to
     * its e of 1 in float32, a tail would lose its digits, and with them the entropy of a peak */
    double total = 1, mean = 0, square = 0;
    float e[CHUNK], d[CHUNK];
    for (int64_t start = 0; start < n; start += CHUNK) {
        int64_t size = n - start < CHUNK ? n - start : CHUNK;
        const float *row = z + start;
        float sum = 0, first = 0, second = 0;
        for (int64_t i = 0; i < size; i++) {
            float x = row[i] - top;
            d[i] = x < FLOOR ? FLOOR : x;
            e[i] = exp_negative(d[i]);
        }
        if (start == around) {
            if (maximum(row, size) < top) {
                around += CHUNK;
            } else {
                int64_t peak = 0;
                while (row[peak] != top) peak++;
                e[peak] = 0;
            }
        }
        for (int64_t i = 0; i < size; i++) {
            sum += e[i];
            first += e[i] * d[i];
        }
        float centre = sum > 0 ? first / sum : 0; /* a row of one token */
        for (int64_t i = 0; i < size; i++) {
            float c = d[i] - centre;
            second += e[i] * c * c;
        }
        double both = total + sum, delta = (double)centre - mean;
        square += second + delta * delta * total * sum / both;
        mean += delta * sum / both;
        total = both;
    }
    /* a NaN logit compares false to everything, so it has reached the sums */
    out[0] = log(total) - mean;
    out[1] = square / total;
    out[2] = log(total) + top;
}

static void swap(float *a, float *b) {
    float t = *a;
    *a = *b;
    *b = t;
}

/* The value that would stand at index k of x sorted downwards; reorders x (Hoare's quickselect). */
static float kth_largest(float *x, int64_t n, int64_t k) {
    int64_t low = 0, high = n - 1;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (x[middle] > x[low]) swap(x + middle, x + low);
        if (x[high] > x[low]) swap(x + high, x + low);
        if (x[high] > x[middle]) swap(x + high, x + middle);
        float pivot = x[middle];
        int64_t i = low, j = high;
        while (i <= j) {
            while (x[i] > pivot) i++;
            while (x[j] < pivot) j--;
            if (i <= j) swap(x + i++, x + j--);
        }
        if (k <= j) high = j;
        else if (k >= i) low = i;
        else break;
    }
    return x[k];
}

/* Larger logits first, then smaller ids, in ascending order of one unsigned number. */
static inline uint64_t sort_key(float z, int64_t id) {
    uint32_t bits;
    memcpy(&bits, &z, sizeof bits);
    if (bits == 0x80000000u) bits = 0; /* −0 equals 0 */
    bits = bits & 0x80000000u ? bits : ~bits & 0x7fffffffu;
    return (uint64_t)bits << 32 | (uint32_t)id;
}

static void merge_sort(uint64_t *x, uint64_t *spare, int64_t n) {
    if (n <= 12) {
        for (int64_t i = 1; i < n; i++) {
            uint64_t value = x[i];
            int64_t j = i;
            for (; j > 0 && x[j - 1] > value; j--) x[j] = x[j - 1];
            x[j] = value;
        }
        return;
    }
    int64_t half = n / 2, left = 0, right = half, out = 0;
    merge_sort(x, spare, half);
    merge_sort(x + half, spare, n - half);
    while (left < half && right < n) spare[out++] = x[left] <= x[right] ? x[left++] : x[right++];
    while (left < half) spare[out++] = x[left++];
    memcpy(x, spare, out * sizeof *x);
}

/* The k likeliest of n logits, k <= n: ids and logits, likeliest first, ties by id. Returns 0, or 1 for no memory. */
int entropix_window(const float *z, int64_t n, int64_t k, int64_t *ids, float *values) {
    int64_t blocks = (n + BLOCK - 1) / BLOCK;
    float *maxima = malloc(2 * blocks * sizeof *maxima);
    if (!maxima) return 1;
    float *order = maxima + blocks;
    for (int64_t b = 0; b < blocks; b++) {
        int64_t size = n - b * BLOCK < BLOCK ? n - b * BLOCK : BLOCK;
        maxima[b] = maximum(z + b * BLOCK, size);
    }
    /* the k-th largest of the blocks' maxima is at most the k-th largest logit */
    float bound = -INFINITY;
    if (blocks > k) {
        memcpy(order, maxima, blocks * sizeof *order);
        bound = kth_largest(order, blocks, k - 1);
    }
    int64_t count = 0;
    for (int64_t b = 0; b < blocks; b++) {
        if (!(maxima[b] >= bound)) continue;
        int64_t end = (b + 1) * BLOCK < n ? (b + 1) * BLOCK : n;
        for (int64_t i = b * BLOCK; i < end; i++) count += z[i] >= bound;
    }
    uint64_t *keys = malloc((2 * count + 1) * sizeof *keys);
    if (!keys) {
        free(maxima);
        return 1;
    }
    int64_t found = 0;
    for (int64_t b = 0; b < blocks; b++) {
        if (!(maxima[b] >= bound)) continue;
        int64_t end = (b + 1) * BLOCK < n ? (b + 1) * BLOCK : n;
        for (int64_t i = b * BLOCK; i < end; i++)
            if (z[i] >= bound) keys[found++] = sort_key(z[i], i);
    }
    merge_sort(keys, keys + count, count);
    for (int64_t i = 0; i < k; i++) {
        int64_t id = i < count ? (int64_t)(uint32_t)keys[i] : 0; /* fewer than k only where logits are NaN */
        ids[i] = id;
        values[i] = z[id];
    }
    free(keys);
    free(maxima);
    return 0;
}

/* SplitMix64, as in sampling/noise.py. */
static inline double gumbel(uint64_t key, uint64_t id) {
    uint64_t x = key + (id + 1) * 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    x ^= x >> 31;
    return -log(-log(((double)(x >> 12) + 0.5) * 0x1p-52));
}

/* Filters and draw of one row of n >= 1 candidates, likeliest first. filtered: n log-probabilities. drawn: the ranks of
 * `most` <= MOST candidates in the order of drawing, -1 where there are fewer; NULL where most is 1. Returns the rank. */
int64_t entropix_draw(const float *z, const int64_t *ids, int64_t n, double temperature, int64_t top_k, double top_p,
                      double min_p, int64_t candidates, int64_t most, int64_t key, double *filtered, int64_t *drawn) {
    double top = z[0], warm = temperature < 1e-6 ? 1e-6 : temperature, total = 0, before = 0, left = 0;
    int64_t limit = top_k <= 0 || top_k > n ? n : top_k, kept = 0, found = 0, first = n;
    int64_t want = temperature <= 0 || candidates < 1 ? 1 : candidates < most ? candidates : most;
    double best[MOST];
    int64_t rank[MOST];
    if (temperature <= 0) limit = 1;
    for (int64_t i = 0; i < limit; i++) total += filtered[i] = exp(((double)z[i] - top) / warm);
    for (; kept < limit; kept++) { /* what a filter keeps is a beginning, since p falls and the mass before it grows */
        double p = filtered[kept];
        if (kept && !(before / total < top_p && p >= min_p && p > 0)) break;
        before += p;
        left += p;
    }
    double normaliser = log(left);
    for (int64_t i = 0; i < kept; i++) {
        filtered[i] = ((double)z[i] - top) / warm - normaliser;
        double noisy = filtered[i] + gumbel((uint64_t)key, (uint64_t)ids[i]);
        if (found == want && !(noisy > best[want - 1])) continue;
        int64_t at = found < want ? found++ : want - 1;
        for (; at > 0 && noisy > best[at - 1]; at--) best[at] = best[at - 1], rank[at] = rank[at - 1];
        best[at] = noisy, rank[at] = i;
    }
    for (int64_t i = kept; i < n; i++) filtered[i] = -INFINITY;
    for (int64_t i = 0; i < found; i++) first = rank[i] < first ? rank[i] : first;
    for (int64_t i = 0; drawn && i < most; i++) drawn[i] = i < found ? rank[i] : -1;
    return first;
}
