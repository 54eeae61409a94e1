// CPU core of rasterize_tiled: the tiles' lists, one pass over each touched tile's list, forward and backward, 64 pixels
// side by side, and the gradient of each Gaussian. The arithmetic of tiles.py, rasterize_tiled.py, rasterize_triton.py. Plain C interface for ctypes; built by rasterize_native.py. float32 only.
//
// rows:    (E, 6) coefficients of log2(o w / ln 2) in u^2, u v, v^2, u, v, 1 from the tile's centre
// colours: (E, 3)
// tiles:   (T,) (image * down + line) * across + column, with start (T,) and count (T,) of its rows
// image:   (I, 3, down * 8, across * 8), black before
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

constexpr int SIDE = 8, PIXELS = SIDE * SIDE;
constexpr float MIDDLE = (SIDE - 1) / 2.0f;
constexpr float LEAST = -120.0f;  // exponents below give denormal numbers
// 2^-64 of the light gets through a depth of 2^6 ln 2: opaque. More would only multiply the rounding of its gradient.
constexpr float MOST = 6.0f;
constexpr float LN2 = 0.69314718056f;

struct Basis {
    float u[PIXELS], v[PIXELS];
    Basis() {
        for (int p = 0; p < PIXELS; ++p) u[p] = p % SIDE - MIDDLE, v[p] = p / SIDE - MIDDLE;
    }
};
const Basis basis;

// 2^x for x in [-120, 120]: 2^round(x) through the exponent's bits, times a polynomial (Taylor, degree 6: relative
// error below 2e-7) of the rest in [-0.5, 0.5].
inline float power_of_two(float x) {
    const float whole = std::nearbyint(x), rest = x - whole;
    float value = 1.5403530e-4f;
    value = value * rest + 1.3333558e-3f;
    value = value * rest + 9.6181291e-3f;
    value = value * rest + 5.5504109e-2f;
    value = value * rest + 2.4022651e-1f;
    value = value * rest + 6.9314718e-1f;
    value = value * rest + 1.0f;
    const int32_t bits = (static_cast<int32_t>(whole) + 127) << 23;
    float scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return value * scale;
}

inline float depth_at(const float* row, int p) {
    const float u = basis.u[p], v = basis.v[p];
    const float power = (row[0] * u + row[1] * v + row[3]) * u + (row[2] * v + row[4]) * v + row[5];
    const float low = power > LEAST ? power : LEAST;
    return power_of_two(low < MOST ? low : MOST);
}

inline float left_behind(float total) { return power_of_two(total < -LEAST ? -total : LEAST); }

// First pixel of a tile in the first channel of its image.
inline int64_t corner(int64_t tile, int64_t down, int64_t across) {
    const int64_t line = tile / across % down, image = tile / across / down;
    return (image * 3 * down * SIDE + line * SIDE) * across * SIDE + tile % across * SIDE;
}

inline void read(const float* from, int64_t width, float* to) {
    for (int y = 0; y < SIDE; ++y) std::memcpy(to + y * SIDE, from + y * width, SIDE * sizeof(float));
}

}  // namespace

extern "C" void composite(
    const float* rows, const float* colours, const int64_t* tiles, const int64_t* start, const int64_t* count,
    int64_t touched, int64_t down, int64_t across, float* image, int threads) {
    const int64_t width = across * SIDE, plane = down * SIDE * width;
#pragma omp parallel for schedule(dynamic, 32) num_threads(threads)
    for (int64_t t = 0; t < touched; ++t) {
        float total[PIXELS] = {}, before[PIXELS], out[3][PIXELS] = {};
        for (float& x : before) x = 1.0f;
        for (int64_t k = start[t]; k < start[t] + count[t]; ++k) {
            const float *row = rows + 6 * k, *colour = colours + 3 * k;
            const float red = colour[0], green = colour[1], blue = colour[2];
            for (int p = 0; p < PIXELS; ++p) {
                total[p] += depth_at(row, p);
                const float after = left_behind(total[p]), share = before[p] - after;
                before[p] = after;
                out[0][p] += share * red;
                out[1][p] += share * green;
                out[2][p] += share * blue;
            }
        }
        float* first = image + corner(tiles[t], down, across);
        for (int c = 0; c < 3; ++c)
            for (int y = 0; y < SIDE; ++y)
                std::memcpy(first + c * plane + y * width, out[c] + y * SIDE, SIDE * sizeof(float));
    }
}

// result: (E, 9) gradients of the natural logarithm's six coefficients and of the three colours. With the image known,
// the light from behind a Gaussian is the image less what it and those before it brought: one pass, front to back.
extern "C" void composite_backward(
    const float* rows, const float* colours, const int64_t* tiles, const int64_t* start, const int64_t* count,
    int64_t touched, int64_t down, int64_t across, const float* image, const float* grad, float* result, int threads) {
    const int64_t width = across * SIDE, plane = down * SIDE * width;
#pragma omp parallel for schedule(dynamic, 32) num_threads(threads)
    for (int64_t t = 0; t < touched; ++t) {
        float total[PIXELS] = {}, before[PIXELS], behind[PIXELS], out[3][PIXELS], back[3][PIXELS];
        const int64_t first = corner(tiles[t], down, across);
        for (int c = 0; c < 3; ++c) {
            read(image + first + c * plane, width, out[c]);
            read(grad + first + c * plane, width, back[c]);
        }
        for (int p = 0; p < PIXELS; ++p) {
            before[p] = 1.0f;
            behind[p] = back[0][p] * out[0][p] + back[1][p] * out[1][p] + back[2][p] * out[2][p];
        }
        for (int64_t k = start[t]; k < start[t] + count[t]; ++k) {
            const float *row = rows + 6 * k, *colour = colours + 3 * k;
            const float red = colour[0], green = colour[1], blue = colour[2];
            float uu = 0, uv = 0, vv = 0, on_u = 0, on_v = 0, one = 0, on_red = 0, on_green = 0, on_blue = 0;
            for (int p = 0; p < PIXELS; ++p) {
                const float u = basis.u[p], v = basis.v[p], depth = depth_at(row, p);
                total[p] += depth;
                const float after = left_behind(total[p]), share = before[p] - after;
                before[p] = after;
                const float seen = back[0][p] * red + back[1][p] * green + back[2][p] * blue;
                behind[p] -= share * seen;
                const float to_log = (after * seen - behind[p]) * depth;
                uu += to_log * u * u, uv += to_log * u * v, vv += to_log * v * v;
                on_u += to_log * u, on_v += to_log * v, one += to_log;
                on_red += share * back[0][p], on_green += share * back[1][p], on_blue += share * back[2][p];
            }
            const float sums[9] = {LN2 * uu, LN2 * uv, LN2 * vv, LN2 * on_u, LN2 * on_v, LN2 * one,
                                   on_red,   on_green, on_blue};
            std::memcpy(result + 9 * k, sums, sizeof sums);
        }
    }
}

// boxes: (K, 4) first column and row of tiles, and those after the last; discs: (K, 3) centre and squared radius.
// Counting sort: K boxes front to back -> listed (E,) boxes of each tile in that order, counts (I * down * across,).
// cells, owners: room for the tiles of all boxes. Returns E.
extern "C" int64_t list_rows(
    const int32_t* boxes, const float* discs, const int64_t* image, int64_t kept, int64_t images, int64_t down,
    int64_t across, int64_t* cells, int32_t* owners, int64_t* counts, int64_t* listed) {
    int64_t found = 0;
    for (int64_t k = 0; k < kept; ++k) {
        const int32_t* box = boxes + 4 * k;
        const float u = discs[3 * k], v = discs[3 * k + 1], bound = discs[3 * k + 2];
        for (int32_t line = box[1]; line < box[3]; ++line) {
            const float above = std::fmax(std::fabs(line * SIDE + MIDDLE - v) - MIDDLE, 0.0f);
            for (int32_t column = box[0]; column < box[2]; ++column) {
                const float beside = std::fmax(std::fabs(column * SIDE + MIDDLE - u) - MIDDLE, 0.0f);
                if (beside * beside + above * above > bound) continue;
                const int64_t cell = (image[k] * down + line) * across + column;
                cells[found] = cell, owners[found++] = static_cast<int32_t>(k), ++counts[cell];
            }
        }
    }
    int64_t before = 0;  // counts become places, and go back to being counts as the places are filled
    const int64_t all = images * down * across;
    for (int64_t cell = 0; cell < all; ++cell) {
        const int64_t here = counts[cell];
        counts[cell] = before, before += here;
    }
    for (int64_t e = 0; e < found; ++e) listed[counts[cells[e]]++] = owners[e];
    for (int64_t cell = all - 1; cell > 0; --cell) counts[cell] -= counts[cell - 1];
    return found;
}

// shape: (G, 6) u, v, Q_uu, Q_uv, Q_vv, log o; gaussian: (E,) -> rows, as above.
extern "C" void polynomial(
    const float* shape, const int64_t* gaussian, const int64_t* tiles, const int64_t* start, const int64_t* count,
    int64_t touched, int64_t down, int64_t across, float* rows) {
    const float log2e = 1 / LN2, constant = -std::log(LN2);
    for (int64_t t = 0; t < touched; ++t) {
        const float along = tiles[t] % across * SIDE + MIDDLE, below = tiles[t] / across % down * SIDE + MIDDLE;
        for (int64_t k = start[t]; k < start[t] + count[t]; ++k) {
            const float* s = shape + 6 * gaussian[k];
            const float du = s[0] - along, dv = s[1] - below;
            const float on_u = s[2] * du + s[3] * dv, on_v = s[3] * du + s[4] * dv;
            float* row = rows + 6 * k;
            row[0] = -0.5f * s[2] * log2e, row[1] = -s[3] * log2e, row[2] = -0.5f * s[4] * log2e;
            row[3] = on_u * log2e, row[4] = on_v * log2e;
            row[5] = (s[5] - 0.5f * (on_u * du + on_v * dv) + constant) * log2e;
        }
    }
}

// Chain rule of `polynomial`, summed over each Gaussian's rows in their order: to_rows (E, 9) as composite_backward
// gives it -> to_shape (G, 6) and to_colour (G, 3), zero before.
extern "C" void gather(
    const float* shape, const float* to_rows, const int64_t* gaussian, const int64_t* tiles, const int64_t* start,
    const int64_t* count, int64_t touched, int64_t down, int64_t across, float* to_shape, float* to_colour) {
    for (int64_t t = 0; t < touched; ++t) {
        const float along = tiles[t] % across * SIDE + MIDDLE, below = tiles[t] / across % down * SIDE + MIDDLE;
        for (int64_t k = start[t]; k < start[t] + count[t]; ++k) {
            const float *s = shape + 6 * gaussian[k], *g = to_rows + 9 * k;
            const float du = s[0] - along, dv = s[1] - below, u = g[3] - g[5] * du, v = g[4] - g[5] * dv;
            float *out = to_shape + 6 * gaussian[k], *colour = to_colour + 3 * gaussian[k];
            out[0] += s[2] * u + s[3] * v;
            out[1] += s[3] * u + s[4] * v;
            out[2] += -0.5f * g[0] + du * (g[3] - 0.5f * du * g[5]);
            out[3] += -g[1] + dv * g[3] + du * (g[4] - dv * g[5]);
            out[4] += -0.5f * g[2] + dv * (g[4] - 0.5f * dv * g[5]);
            out[5] += g[5];
            for (int c = 0; c < 3; ++c) colour[c] += g[6 + c];
        }
    }
}
