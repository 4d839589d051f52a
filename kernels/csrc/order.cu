// SPDX-FileCopyrightText: The sceneflow authors
// SPDX-License-Identifier: Apache-2.0
// Points into cells that follow a Hilbert curve through the two widest axes: survey, count, total, scan, scatter.

#define CHUNK 4096           // cells in a block of the scan
#define DRAWN 256            // points that tell the middle and the width of a cloud

__device__ inline float warp_sum(float value) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(FULL, value, step);
    return value;
}

// Sums over a block, the same in every thread.
__device__ inline float4 block_sum(float4 value, float4* shared) {
    value = make_float4(warp_sum(value.x), warp_sum(value.y), warp_sum(value.z), warp_sum(value.w));
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
    __syncthreads();
    value = shared[threadIdx.x % 32];
    return make_float4(warp_sum(value.x), warp_sum(value.y), warp_sum(value.z), warp_sum(value.w));
}

__device__ inline float4 load_point(const float* source, long long row) {
    float x = source[row * 3], y = source[row * 3 + 1], z = source[row * 3 + 2];
    bool finite = (x - x) + (y - y) + (z - z) == 0.0f;
    return finite ? make_float4(x, y, z, 1.0f) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
}

// A line through a square of 2^bits cells a side that visits neighbours one after the other (Hilbert).
__device__ inline u32 hilbert_plane(u32 x, u32 y, int bits) {
    u32 along = 0;
    for (u32 side = 1u << (bits - 1); side > 0; side /= 2) {
        u32 right = (x & side) != 0, up = (y & side) != 0;
        along += side * side * ((3 * right) ^ up);
        if (!up) {
            if (right) { x = ~x; y = ~y; }
            u32 swap = x; x = y; y = swap;
        }
    }
    return along;
}

// Seven bits, two zeros after each.
__device__ inline u32 spread_bits(u32 bits) {
    bits = (bits | bits << 8) & 0x0000f00fu;
    bits = (bits | bits << 4) & 0x000c30c3u;
    return (bits | bits << 2) & 0x00249249u;
}

// The same through a cube of 128 cells a side (Skilling 2004), 21 bits.
__device__ inline u32 hilbert_cube(u32 x, u32 y, u32 z) {
    for (u32 side = 64; side > 1; side /= 2) {
        u32 below = side - 1, swap;
        if (x & side) x ^= below;
        if (y & side) x ^= below; else { swap = (x ^ y) & below; x ^= swap; y ^= swap; }
        if (z & side) x ^= below; else { swap = (x ^ z) & below; x ^= swap; z ^= swap; }
    }
    y ^= x;
    z ^= y;
    u32 flip = 0;
    for (u32 side = 64; side > 1; side /= 2) if (z & side) flip ^= side - 1;
    x ^= flip; y ^= flip; z ^= flip;
    return spread_bits(x) << 2 | spread_bits(y) << 1 | spread_bits(z);
}

// Cells grow with the distance from the middle of the cloud and reach to infinity: no border, nothing outside.
__device__ inline u32 cell_along(float offset, float scale, int bits) {
    float squashed = offset / (fabsf(offset) + scale);
    float cell = (squashed * 0.5f + 0.5f) * (float)(1 << bits);
    return cell > 0.0f ? min((u32)cell, (1u << bits) - 1) : 0u;
}

// First: where a sample lies and how far it spreads, from at most DRAWN of its points.
__device__ inline void survey(const Cloud& cloud, int sample) {
    __shared__ float4 shared[BLOCK / 32];
    int first = cloud.row[sample], count = cloud.row[sample + 1] - first, taken = min(count, DRAWN);
    float4 point = make_float4(0.0f, 0.0f, 0.0f, 0.0f), apart = point;
    if ((int)threadIdx.x < taken) point = load_point(cloud.source, first + (long long)threadIdx.x * count / taken);
    float4 sum = block_sum(point, shared);
    float many = fmaxf(sum.w, 1.0f);
    float4 middle = make_float4(sum.x / many, sum.y / many, sum.z / many, 0.0f);
    if (point.w != 0.0f)
        apart = make_float4(fabsf(point.x - middle.x), fabsf(point.y - middle.y), fabsf(point.z - middle.z), 0.0f);
    sum = block_sum(apart, shared);
    if (threadIdx.x != 0) return;
    Scene scene = {{middle.x, middle.y, middle.z}, {sum.x / many, sum.y / many, sum.z / many}};
    cloud.scene[sample] = scene;
}

// Second: the cell of each point and its rank there.
__device__ inline void count(const Cloud& cloud, int block) {
    Part part = part_of(cloud, block);
    int first = cloud.row[part.sample];
    Scene scene = cloud.scene[part.sample];
    float scale = fmaxf(fmaxf(fmaxf(scene.spread[0], scene.spread[1]), scene.spread[2]), 1e-30f);

    int at = part.start + threadIdx.x;
    u32 active = __ballot_sync(FULL, at < part.count);
    if (at >= part.count) return;
    float4 point = load_point(cloud.source, first + at);
    int begin = cloud.cells[part.sample];
    u32 size = cloud.cells[part.sample + 1] - begin;
    int bits = (31 - __clz(size)) / 2;
    // The two axes along which the cloud is widest.
    int drop = scene.spread[0] < scene.spread[1] && scene.spread[0] < scene.spread[2] ? 0
             : scene.spread[1] < scene.spread[2] ? 1 : 2;
    float u = drop == 0 ? point.z - scene.middle[2] : point.x - scene.middle[0];
    float v = drop == 1 ? point.z - scene.middle[2] : point.y - scene.middle[1];
    u32 cell = hilbert_plane(cell_along(u, scale, bits), cell_along(v, scale, bits), bits) & (size - 1);
    if (point.w == 0.0f) cell = size - 1;

    u32 same = __match_any_sync(active, cell);
    int leader = __ffs(same) - 1, lane = threadIdx.x % 32;
    u32 rank = 0;
    if (lane == leader) rank = atomicAdd(&cloud.table[begin + cell], __popc(same));
    rank = __shfl_sync(same, rank, leader) + __popc(same & ((1u << lane) - 1));
    cloud.place[first + at] = make_uint2(begin + cell, rank);
}

__device__ inline u32 block_count(u32 value, u32* shared) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(FULL, value, step);
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
    __syncthreads();
    value = shared[threadIdx.x % 32];
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(FULL, value, step);
    return value;
}

// Third: how many points each chunk of the table holds.
__device__ inline void total(const Cloud& cloud, int chunk) {
    __shared__ u32 shared[32];
    uint4 count = ((const uint4*)(cloud.table + chunk * CHUNK))[threadIdx.x];
    u32 sum = block_count(count.x + count.y + count.z + count.w, shared);
    if (threadIdx.x == 0) cloud.totals[chunk] = sum;
}

__device__ inline u32 sum_before(const u32* sums, int warp) {
    u32 value = (int)(threadIdx.x % 32) < warp ? sums[threadIdx.x % 32] : 0u;
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(FULL, value, step);
    return value;
}

// Fourth: counts become first places, in the order of the curve. A sample has at most 256 chunks.
__device__ inline void scan(const Cloud& cloud, int chunk) {
    __shared__ u32 shared[32];
    __shared__ u32 sums[32];
    int begin = cloud.cells[sample_of(cloud.cells, cloud.samples, chunk * CHUNK)] / CHUNK;
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    u32 earlier = begin + (int)threadIdx.x < chunk ? cloud.totals[begin + threadIdx.x] : 0u;
    u32 base = block_count(earlier, shared);
    uint4* cells = (uint4*)(cloud.table + chunk * CHUNK) + threadIdx.x;
    uint4 count = *cells;
    u32 own = count.x + count.y + count.z + count.w, upto = own;
    for (int step = 1; step < 32; step *= 2) {
        u32 before = __shfl_up_sync(FULL, upto, step);
        if (lane >= step) upto += before;
    }
    if (lane == 31) sums[warp] = upto;
    __syncthreads();
    u32 place = base + upto - own + sum_before(sums, warp);
    *cells = make_uint4(place, place + count.x, place + count.x + count.y, place + count.x + count.y + count.z);
}

// Fifth: every point to its place.
__device__ inline void scatter(const Cloud& cloud, int block) {
    Part part = part_of(cloud, block);
    int at = part.start + threadIdx.x;
    if (at >= part.count) return;
    int row = cloud.row[part.sample] + at;
    uint2 place = cloud.place[row];
    float4 point = load_point(cloud.source, row);
    if (point.w == 0.0f) point = make_float4(NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, 0.0f);
    point.w = __uint_as_float((u32)row);
    long long slot = (long long)cloud.block[part.sample] * BLOCK + cloud.table[place.x] + place.y;
    ((float4*)cloud.points)[slot] = point;  // put into leaves by arrange
}
