// Attention signals of chosen layers, taken from llama.cpp's flash-attention nodes while a graph is computed.
// The same definitions as entropix/signals/attention.py, over each row's own visible cells only.
// Compiled on first use by compiled_tap.py, which fills `struct tap`; no library is linked.

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "exp_negative.h"
#include "ggml_tensor.h"
#if defined(__F16C__)
#include <immintrin.h>
#endif

enum { OFF, MEASURE, PROBE };
enum { FINE, NO_MEMORY, UNSUPPORTED, WRONG_LAYOUT };

struct tap {
    int32_t mode;
    int32_t tokens;   // tokens in this decode
    int32_t n_rows;
    int32_t n_layers;
    int32_t problem;
    int32_t limit;    // layers that `visible` has room for
    int32_t flash;    // the number of flash attention among the operations of this ggml
    const int32_t * rows;    // (n_rows) numbers of the tokens that are measured
    const int32_t * layers;  // (n_layers)
    int32_t * visible;       // (limit) PROBE: cells the last token sees in each layer
    double * out;            // (n_layers, n_rows, 4)
    const char * (*get_name)(const struct ggml_tensor *);
    bool (*is_host)(void *);
    void (*get)(const struct ggml_tensor *, void *, size_t, size_t);
};

static int layer_of(const struct ggml_tensor * t) {
    const char * name = t->src[1] ? strstr(t->src[1]->name, "cache_k_l") : NULL;
    return name ? atoi(name + strlen("cache_k_l")) : -1;
}

static float half(uint16_t h) {
#if defined(__F16C__)
    return _cvtsh_ss(h);
#else
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13, bits;
    float f;
    if ((h & 0x7c00) == 0x7c00) {
        bits = sign | 0x7f800000 | rest;
        memcpy(&f, &bits, 4);
        return f;
    }
    memcpy(&f, &rest, 4);
    f *= 0x1p112f;  // rebias the exponent; denormals come right too
    memcpy(&bits, &f, 4);
    bits |= sign;
    memcpy(&f, &bits, 4);
    return f;
#endif
}

static void widen(const char * k, bool f16, float * out, int n) {
    if (!f16) {
        memcpy(out, k, sizeof(float) * n);
        return;
    }
    const uint16_t * h = (const uint16_t *) k;
    int i = 0;
#if defined(__F16C__) && defined(__AVX__)
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *) (h + i))));
    }
#endif
    for (; i < n; i++) {
        out[i] = half(h[i]);
    }
}

static float dot(const float * a, const float * b, int n) {
    float lanes[16] = {0};
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        for (int j = 0; j < 16; j++) {
            lanes[j] += a[i + j] * b[i + j];
        }
    }
    float s = 0;
    for (int j = 0; j < 16; j++) {
        s += lanes[j];
    }
    for (; i < n; i++) {
        s += a[i] * b[i];
    }
    return s;
}

// the tensor's memory: in place where the host can read it, else a copy that the caller frees
static const char * host(struct tap * tap, const struct ggml_tensor * t, void ** copy) {
    if (!t->buffer && t->view_src ? tap->is_host(t->view_src->buffer) : tap->is_host(t->buffer)) {
        return t->data;
    }
    size_t size = t->nb[0];
    size += (size_t) (t->ne[0] - 1) * t->nb[0];
    for (int i = 1; i < 4; i++) {
        size += (size_t) (t->ne[i] - 1) * t->nb[i];
    }
    *copy = malloc(size);
    if (*copy) {
        tap->get(t, *copy, 0, size);
    }
    return *copy;
}

static bool sees(const char * mask, bool f16, int64_t cell) {
    if (f16) {
        return ((const uint16_t *) mask)[cell] != 0xfc00;
    }
    return ((const float *) mask)[cell] != -INFINITY;
}

// softmax of one head's scores in place; adds to *magnitude and returns the entropy over ln T
static double settle_head(float * s, int n, double * magnitude) {
    float best = s[0];
    for (int i = 1; i < n; i++) {
        best = s[i] > best ? s[i] : best;
    }
    double m = 0, z = 0, a = 0;
    for (int from = 0; from < n; from += 256) {  // float sums of short runs, double over the runs
        int to = from + 256 < n ? from + 256 : n;
        float sum = 0, zs = 0, as = 0;
        for (int i = from; i < to; i++) {
            float d = s[i] - best;
            float e = exp_negative(d < -87.0f ? -87.0f : d);
            sum += fabsf(s[i]);
            zs += e;
            as += e * d;
            s[i] = e;
        }
        m += sum;
        z += zs;
        a += as;
    }
    float scale = (float) (1.0 / z);
    for (int i = 0; i < n; i++) {
        s[i] *= scale;
    }
    *magnitude += m;
    double h = n > 1 ? (log(z) - a / z) / log((double) n) : 0;
    return h < 0 ? 0 : h > 1 ? 1 : h;
}

static int measure(struct tap * tap, const struct ggml_tensor * t, double * out) {
    const struct ggml_tensor * q = t->src[0], * k = t->src[1], * mask = t->src[3];
    float scale, bias, softcap;
    memcpy(&scale, &t->op_params[0], 4);
    memcpy(&bias, &t->op_params[1], 4);
    memcpy(&softcap, &t->op_params[2], 4);
    bool half_k = k->type == GGML_TYPE_F16, half_mask = mask && mask->type == GGML_TYPE_F16;
    if (q->type != GGML_TYPE_F32 || (!half_k && k->type != GGML_TYPE_F32) || bias != 0 || q->ne[3] != 1 ||
        k->ne[3] != 1 || !mask || (!half_mask && mask->type != GGML_TYPE_F32) || q->ne[1] != tap->tokens ||
        q->ne[2] % k->ne[2] != 0) {
        return UNSUPPORTED;
    }
    const int dim = (int) q->ne[0], heads = (int) q->ne[2], groups = (int) k->ne[2], group = heads / groups;
    const int cells = (int) k->ne[1];
    void * q_copy = NULL, * k_copy = NULL, * mask_copy = NULL;
    const char * qs = host(tap, q, &q_copy), * ks = host(tap, k, &k_copy), * ms = host(tap, mask, &mask_copy);
    int32_t * seen = malloc(sizeof(int32_t) * cells);
    float * key = malloc(sizeof(float) * dim);
    float * scores = malloc(sizeof(float) * (size_t) cells * (heads + 1));
    double * entropy = malloc(sizeof(double) * heads);
    int problem = qs && ks && ms && seen && key && scores && entropy ? FINE : NO_MEMORY;
    for (int r = 0; problem == FINE && r < tap->n_rows; r++, out += 4) {
        const int row = tap->rows[r];
        const char * m = ms + row * mask->nb[1];
        int n = 0;
        for (int c = 0; c < cells; c++) {
            seen[n] = c;
            n += sees(m, half_mask, c);
        }
        for (int g = 0; g < groups; g++) {
            for (int i = 0; i < n; i++) {
                widen(ks + seen[i] * k->nb[1] + g * k->nb[2], half_k, key, dim);
                for (int h = g * group; h < (g + 1) * group; h++) {
                    const float * query = (const float *) (qs + row * q->nb[1] + h * q->nb[2]);
                    float s = dot(query, key, dim) * scale;
                    scores[(size_t) h * n + i] = softcap != 0 ? softcap * tanhf(s / softcap) : s;
                }
            }
        }
        double magnitude = 0, mean = 0, square = 0, apart = 0;
        float * average = scores + (size_t) heads * n;
        memset(average, 0, sizeof(float) * n);
        for (int h = 0; h < heads; h++) {
            float * a = scores + (size_t) h * n;
            entropy[h] = settle_head(a, n, &magnitude);
            mean += entropy[h] / heads;
            for (int i = 0; i < n; i++) {
                average[i] += a[i] / heads;
            }
        }
        for (int h = 0; h < heads; h++) {
            const float * a = scores + (size_t) h * n;
            square += (entropy[h] - mean) * (entropy[h] - mean) / heads;
            for (int from = 0; from < n; from += 256) {
                int to = from + 256 < n ? from + 256 : n;
                float d = 0;
                for (int i = from; i < to; i++) {
                    d += fabsf(a[i] - average[i]);
                }
                apart += d;
            }
        }
        out[0] = mean;
        out[1] = square;
        out[2] = 1 - 0.5 * apart / heads;
        out[3] = magnitude / ((double) n * heads);
    }
    free(q_copy);
    free(k_copy);
    free(mask_copy);
    free(seen);
    free(key);
    free(scores);
    free(entropy);
    return problem;
}

static void probe(struct tap * tap, const struct ggml_tensor * t, int layer) {
    const struct ggml_tensor * mask = t->src[3];
    void * copy = NULL;
    const char * m = mask ? host(tap, mask, &copy) : NULL;
    if (!m) {
        return;
    }
    int32_t n = 0;
    for (int64_t c = 0; c < mask->ne[0]; c++) {
        n += sees(m + (tap->tokens - 1) * mask->nb[1], mask->type == GGML_TYPE_F16, c);
    }
    tap->visible[layer] = n;
    free(copy);
}

// ggml_backend_sched_eval_callback; user_data is a struct tap
bool entropix_tap(struct ggml_tensor * t, bool ask, void * user_data) {
    struct tap * tap = user_data;
    if (tap->mode == OFF || t->op != tap->flash) {
        return !ask;
    }
    if (tap->get_name(t) != t->name) {  // another ggml than that of ggml_tensor.h
        tap->problem = WRONG_LAYOUT;
        return !ask;
    }
    int layer = layer_of(t);
    if (tap->mode == PROBE) {
        if (layer < 0 || layer >= tap->limit) {
            return !ask;
        }
        if (!ask) {
            probe(tap, t, layer);
        }
        return true;
    }
    for (int l = 0; l < tap->n_layers; l++) {
        if (tap->layers[l] == layer) {
            if (!ask) {
                int problem = measure(tap, t, tap->out + (size_t) l * tap->n_rows * 4);
                tap->problem = problem ? problem : tap->problem;
            }
            return true;
        }
    }
    return !ask;
}
