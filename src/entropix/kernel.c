/* What every decoded token pays for, a row at a time: two passes over the vocabulary, and the draw. With top-k off the
 * draw itself goes over the vocabulary once more.
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

#include "order.h"

#define CHUNK 1024
#define PIECE (8 * CHUNK)
#define BLOCK 64
#define LANES 32
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
    else if (k < n) { /* too few blocks to tell: the k-th largest itself */
        float *copy = malloc(n * sizeof *copy);
        if (!copy) {
            free(maxima);
            return 1;
        }
        for (int64_t i = 0; i < n; i++) copy[i] = z[i] == z[i] ? z[i] : -INFINITY;
        bound = kth_largest(copy, n, k - 1);
        free(copy);
    }
    int64_t count = 0;
    for (int64_t b = 0; b < blocks; b++) {
        if (!(maxima[b] >= bound)) continue;
        int64_t end = (b + 1) * BLOCK < n ? (b + 1) * BLOCK : n;
        for (int64_t i = b * BLOCK; i < end; i++) count += z[i] >= bound;
    }
    uint64_t *keys = malloc((count + (count < 2 * k ? count : 2 * k) + 1) * sizeof *keys);
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
    if (count > 2 * k) { /* ties at the border, of which those with the smallest ids belong to the window */
        split(keys, count, k, NULL);
        count = k;
    }
    merge_sort(keys, keys + found, count);
    for (int64_t i = 0; i < k; i++) {
        int64_t id = i < count ? (int64_t)(uint32_t)keys[i] : 0; /* fewer than k only where logits are NaN */
        ids[i] = id;
        values[i] = z[id];
    }
    free(keys);
    free(maxima);
    return 0;
}

/* SplitMix64, as in sampling/noise.py: 52 bits. */
static inline uint64_t noise_bits(uint64_t key, uint64_t id) {
    uint64_t x = key + (id + 1) * 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    x ^= x >> 31;
    return x >> 12;
}

static inline double gumbel(uint64_t bits) { return -log(-log(((double)bits + 0.5) * 0x1p-52)); }

/* The keys of what lies behind a token, and how many; NULL for no memory. */
static uint64_t *keys_behind(const float *z, int64_t n, float last, int64_t last_id, int64_t *count) {
    uint64_t *keys = malloc((n + 1) * sizeof *keys);
    int64_t found = 0;
    for (int64_t i = 0; keys && i < n; i++) {
        keys[found] = sort_key(z[i], i);
        found += ((z[i] < last) | ((z[i] == last) & (i > last_id))) & (z[i] > -INFINITY);
    }
    *count = found;
    return keys;
}

/* What a draw finds behind a window of the k likeliest of n logits, where top_k is off or beyond it: masses[0], the
 * weight of all that top-k leaves, the likeliest token's being 1; masses[1], of all that every filter leaves, 0 where
 * that ends within the window; and of the tokens behind it that are left, the `most` <= MOST with the largest log p +
 * noise, likeliest first, filled up with logits of -inf. Both masses are 0 where the window alone tells. Returns 0, or 1
 * for no memory. */
int entropix_behind(const float *z, int64_t n, int64_t k, const int64_t *ids, const float *values, double temperature,
                    int64_t top_k, double top_p, double min_p, int64_t most, int64_t key, int64_t *tail_ids,
                    float *tail_logits, double *masses) {
    double top = values[0], warm = temperature < 1e-6 ? 1e-6 : temperature, inside = 0;
    float last = values[k - 1], end = -INFINITY, least = -INFINITY;
    int32_t last_id = (int32_t)ids[k - 1], end_id = -1;
    int64_t left = -1;
    Scale scale = {values[0], (float)(1 / warm)};
    uint64_t *keys = NULL;
    masses[0] = masses[1] = 0;
    for (int64_t i = 0; i < most; i++) tail_ids[i] = 0, tail_logits[i] = -INFINITY;
    if (!(last > -INFINITY) || !isfinite(top)) return 0;
    int passes = exp(((double)last - top) / warm) >= min_p;
    if (!passes && top_p >= 1) return 0;
    if (min_p > 0) least = (float)(top + warm * log(min_p));
    for (int64_t i = 0; i < k; i++) inside += exp(((double)values[i] - top) / warm);
    if (top_k > k && top_k < n) {
        if (!(keys = keys_behind(z, n, last, last_id, &left))) return 1;
        if (top_k - k < left) left = split(keys, left, top_k - k, NULL);
    }
    double outside = 0;
    for (int64_t i = 0; i < left; i++) outside += weight(scale, key_logit(keys[i]));
    for (int64_t start = 0; left < 0 && start < n; start += CHUNK) {
        int64_t stop = n - start < CHUNK ? n : start + CHUNK;
        float sum = 0;
        for (int64_t i = start; i < stop; i++) {
            float w = weight(scale, z[i]);
            sum += ((z[i] < last) | ((z[i] == last) & (i > last_id))) & (z[i] > -INFINITY) ? w : 0;
        }
        outside += sum;
    }
    masses[0] = inside + outside;
    if (!passes || inside / masses[0] >= top_p) {
        free(keys);
        return 0;
    }
    if (top_p < 1 && !keys && !(keys = keys_behind(z, n, last, last_id, &left))) return 1;
    if (top_p < 1) left = split(keys, left, top_p * masses[0] - inside, &scale);
    if (left > 0) {
        uint64_t border = keys[0];
        for (int64_t i = 1; i < left; i++) border = keys[i] > border ? keys[i] : border;
        end = key_logit(border), end_id = (int32_t)border;
    }
    free(keys);
    masses[1] = inside;
    double best[MOST];
    int64_t token[MOST], found = 0;
    uint64_t bits[BLOCK], bound = 0;
    int32_t possible[BLOCK];
    for (int64_t start = 0; start < n; start += BLOCK) {
        int64_t size = n - start < BLOCK ? n - start : BLOCK;
        const float *row = z + start;
        float sum = 0;
        for (int64_t j = 0; j < size; j++) {
            float x = row[j], w = weight(scale, x);
            int32_t i = (int32_t)start + (int32_t)j;
            int behind = (x < last) | ((x == last) & (i > last_id)), before = (x > end) | ((x == end) & (i <= end_id));
            behind &= before & (x >= least) & (x > -INFINITY);
            sum += behind ? w : 0;
            possible[j] = behind;
        }
        for (int64_t j = 0; j < size; j++) bits[j] = noise_bits((uint64_t)key, (uint64_t)(start + j));
        masses[1] += sum;
        for (int64_t j = 0; j < size; j++) {
            if (bits[j] < bound || !possible[j]) continue;
            double noisy = ((double)row[j] - top) / warm + gumbel(bits[j]);
            if (found == most && !(noisy > best[most - 1])) continue;
            int64_t at = found < most ? found++ : most - 1;
            for (; at > 0 && noisy > best[at - 1]; at--) best[at] = best[at - 1], token[at] = token[at - 1];
            best[at] = noisy, token[at] = start + j;
            if (found < most) continue;
            /* as no logit is above the window's last, noise below this cannot be among the largest */
            double needed = exp(-exp(((double)last - top) / warm - best[most - 1])) * 0x1p52 - 8;
            bound = needed > 0 ? (uint64_t)needed : 0;
        }
    }
    uint64_t order[MOST];
    for (int64_t i = 0; i < found; i++) {
        uint64_t one = sort_key(z[token[i]], token[i]);
        int64_t at = i;
        for (; at > 0 && order[at - 1] > one; at--) order[at] = order[at - 1];
        order[at] = one;
    }
    for (int64_t i = 0; i < found; i++) {
        tail_ids[i] = (int64_t)(uint32_t)order[i];
        tail_logits[i] = z[tail_ids[i]];
    }
    return 0;
}

/* Filters and draw of one row of n >= 1 candidates, likeliest first. The last `tail` of them were found behind the
 * window, with these masses (both 0 where the row does not look there). filtered: n log-probabilities. drawn: the ranks
 * of `most` <= MOST candidates in the order of drawing, -1 where there are fewer; NULL where most is 1. Returns the
 * rank. */
int64_t entropix_draw(const float *z, const int64_t *ids, int64_t n, double temperature, int64_t top_k, double top_p,
                      double min_p, int64_t candidates, int64_t most, int64_t key, int64_t tail, double all,
                      double remains, double *filtered, int64_t *drawn) {
    double top = z[0], warm = temperature < 1e-6 ? 1e-6 : temperature, total = 0, before = 0, left = 0;
    int64_t window = n - tail, limit = top_k <= 0 || top_k > window ? window : top_k, kept = 0, found = 0, first = n;
    int64_t want = temperature <= 0 || candidates < 1 ? 1 : candidates < most ? candidates : most;
    double best[MOST];
    int64_t rank[MOST];
    if (temperature <= 0) limit = 1;
    for (int64_t i = 0; i < limit; i++) total += filtered[i] = exp(((double)z[i] - top) / warm);
    if (all > 0) total = all;
    for (; kept < limit; kept++) { /* what a filter keeps is a beginning, since p falls and the mass before it grows */
        double p = filtered[kept];
        if (kept && !(before / total < top_p && p >= min_p && p > 0)) break;
        before += p;
        left += p;
    }
    if (remains > 0 && kept == window) {
        left = remains;
        while (kept < n && z[kept] > -INFINITY) kept++;
    }
    double normaliser = log(left);
    for (int64_t i = 0; i < kept; i++) {
        filtered[i] = ((double)z[i] - top) / warm - normaliser;
        double noisy = filtered[i] + gumbel(noise_bits((uint64_t)key, (uint64_t)ids[i]));
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
