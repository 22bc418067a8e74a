/* Tokens in the order of their logits, as numbers, and how many of them are enough. */

#ifndef ENTROPIX_ORDER_H
#define ENTROPIX_ORDER_H

#include <stdint.h>
#include <string.h>

#include "exp_negative.h"

#define FLOOR (-80.0f)

/* Larger logits first, then smaller ids, in ascending order of one unsigned number. */
static inline uint64_t sort_key(float z, int64_t id) {
    uint32_t bits;
    memcpy(&bits, &z, sizeof bits);
    if (bits == 0x80000000u) bits = 0; /* −0 equals 0 */
    bits = bits & 0x80000000u ? bits : ~bits & 0x7fffffffu;
    return (uint64_t)bits << 32 | (uint32_t)id;
}

static inline float key_logit(uint64_t key) {
    uint32_t bits = key >> 32;
    bits = bits & 0x80000000u ? bits : ~bits & 0x7fffffffu;
    float z;
    memcpy(&z, &bits, sizeof z);
    return z;
}

/* exp((z - top) / warmth), and not less than can be added up. */
typedef struct {
    float top, inverse;
} Scale;

static inline float weight(Scale s, float z) {
    float x = (z - s.top) * s.inverse;
    return exp_negative(x < FLOOR ? FLOOR : x);
}

/* Reorder n different keys so that the least of them come first, as many as weigh `room` together, the last one of
 * them at least in part (quickselect); with no scale each weighs 1. Returns how many, all where they weigh less. */
static int64_t split(uint64_t *x, int64_t n, double room, const Scale *scale) {
    int64_t low = 0, high = n;
    while (high - low > 1) {
        uint64_t a = x[low], b = x[low + (high - low) / 2], c = x[high - 1];
        uint64_t less = a < b ? a : b, more = a < b ? b : a;
        uint64_t pivot = c < less ? less : c < more ? c : more; /* not the largest, if there are three */
        if (high - low == 2) pivot = a < c ? a : c;
        int64_t kept = low;
        double mass = 0;
        for (int64_t i = low; i < high; i++) {
            uint64_t key = x[i];
            if (key > pivot) continue;
            x[i] = x[kept];
            x[kept++] = key;
            mass += scale ? weight(*scale, key_logit(key)) : 1;
        }
        if (mass < room) room -= mass, low = kept;
        else high = kept;
    }
    return low < n ? low + 1 : n;
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

#endif
