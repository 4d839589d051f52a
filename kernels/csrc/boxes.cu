// SPDX-FileCopyrightText: The sceneflow authors
// SPDX-License-Identifier: Apache-2.0
// Blocks of points into the order of a Hilbert curve through each one's own cube, and boxes around leaves,
// tiles (32 leaves) and supers (32 tiles).

__device__ inline Box box_of(float x, float y, float z, u32 row) {
    bool finite = x == x;
    Box box;
    box.low[0] = finite ? x : INFINITE;
    box.low[1] = finite ? y : INFINITE;
    box.low[2] = finite ? z : INFINITE;
    box.high[0] = finite ? x : -INFINITE;
    box.high[1] = finite ? y : -INFINITE;
    box.high[2] = finite ? z : -INFINITE;
    box.row = finite ? row : FULL;
    box.unused = 0;
    return box;
}

// Unsigned integers in the order of the floats, zero below all of them.
__device__ inline u32 ordered(float value) {
    u32 bits = __float_as_uint(value);
    return bits ^ (bits >> 31 ? FULL : 0x80000000u);
}

__device__ inline float unordered(u32 key) {
    return __uint_as_float(key ^ (key >> 31 ? 0x80000000u : FULL));
}

// The box around the boxes of `lanes` neighbouring lanes.
__device__ inline Box box_around(Box box, int lanes) {
    for (int step = 1; step < lanes; step *= 2) {
        for (int axis = 0; axis < 3; axis++) {
            box.low[axis] = fminf(box.low[axis], __shfl_xor_sync(FULL, box.low[axis], step));
            box.high[axis] = fmaxf(box.high[axis], __shfl_xor_sync(FULL, box.high[axis], step));
        }
        box.row = min(box.row, __shfl_xor_sync(FULL, box.row, step));
    }
    return box;
}

// The same for all lanes of a warp.
__device__ inline Box box_around_warp(Box box) {
    for (int axis = 0; axis < 3; axis++) {
        box.low[axis] = unordered(warp_min(ordered(box.low[axis])));
        box.high[axis] = unordered(warp_max(ordered(box.high[axis])));
    }
    box.row = warp_min(box.row);
    return box;
}

__device__ inline Box load_super(const u32* node) {
    uint4 low = *(const uint4*)node, high = *(const uint4*)(node + 4);
    if (high.x == 0) return box_of(NOT_A_NUMBER, 0.0f, 0.0f, 0);
    Box box;
    box.low[0] = unordered(~low.x); box.low[1] = unordered(~low.y); box.low[2] = unordered(~low.z);
    box.row = ~low.w;
    box.high[0] = unordered(high.x); box.high[1] = unordered(high.y); box.high[2] = unordered(high.z);
    box.unused = 0;
    return box;
}

__device__ inline void grow_super(u32* node, const Box& box) {
    for (int axis = 0; axis < 3; axis++) {
        atomicMax(&node[axis], ~ordered(box.low[axis]));
        atomicMax(&node[4 + axis], ordered(box.high[axis]));
    }
    atomicMax(&node[3], ~box.row);
}

// Where the supers of a sample begin: rounded down for each, one more for each sample before.
__device__ inline int first_super(const Cloud& cloud, int sample) {
    return cloud.block[sample] * TILES / FAN + sample;
}

// Ascending order of one key a thread over the block (bitonic); short steps stay within warps.
__device__ inline u32 block_sort(u32 key, u32* shared) {
    #pragma unroll
    for (u32 run = 2; run <= BLOCK; run *= 2) {
        u32 falling = threadIdx.x & run && run < BLOCK ? FULL : 0u;
        key ^= falling;
        #pragma unroll
        for (u32 step = run / 2; step > 0; step /= 2) {
            u32 other;
            if (step < 32) {
                other = __shfl_xor_sync(FULL, key, step);
            } else {
                __syncthreads();
                shared[threadIdx.x] = key;
                __syncthreads();
                other = shared[threadIdx.x ^ step];
            }
            key = threadIdx.x & step ? max(key, other) : min(key, other);
        }
        key ^= falling;
    }
    return key;
}

// A cube around most of the block's points: the first warp looks at every eighth.
__device__ inline Box cube_of(const float4* points, int lane) {
    Box box = box_of(NOT_A_NUMBER, 0.0f, 0.0f, 0);
    for (int i = lane * 8; i < BLOCK; i += 256) {
        Box other = box_of(points[i].x, points[i].y, points[i].z, 0);
        for (int axis = 0; axis < 3; axis++) {
            box.low[axis] = fminf(box.low[axis], other.low[axis]);
            box.high[axis] = fmaxf(box.high[axis], other.high[axis]);
        }
    }
    return box_around_warp(box);
}

// Where a coordinate lies among 128 cells; what lies outside goes to the outer cells.
__device__ inline u32 cell_in_cube(float offset, float scale) {
    float cell = offset * scale;
    return cell > 0.0f ? min((u32)cell, 127u) : 0u;
}

// Sixth: each block of points into the order of a Hilbert curve through its own cube, and the boxes around them.
__device__ inline void arrange(const Cloud& cloud, int block) {
    __shared__ float4 points[BLOCK];
    __shared__ u32 keys[BLOCK];
    __shared__ Box boxes[BLOCK / LEAF];
    __shared__ Box cube;
    Part part = part_of(cloud, block);
    int thread = threadIdx.x, warp = thread / 32, lane = thread % 32;
    int slot = block * BLOCK + thread;

    float4 point = make_float4(NOT_A_NUMBER, NOT_A_NUMBER, NOT_A_NUMBER, __uint_as_float(FULL));
    if (part.start + thread < part.count) point = ((const float4*)cloud.points)[slot];
    points[thread] = point;
    __syncthreads();
    if (warp == 0) {
        Box own = cube_of(points, lane);
        if (lane == 0) cube = own;
    }
    __syncthreads();
    float extent = fmaxf(fmaxf(cube.high[0] - cube.low[0], cube.high[1] - cube.low[1]), cube.high[2] - cube.low[2]);
    float scale = extent > 0.0f ? 128.0f / extent : 0.0f;
    u32 key = 1u << 21;
    if (point.x == point.x)
        key = hilbert_cube(cell_in_cube(point.x - cube.low[0], scale), cell_in_cube(point.y - cube.low[1], scale),
                           cell_in_cube(point.z - cube.low[2], scale));
    key = block_sort(key << 10 | thread, keys);
    point = points[key & (BLOCK - 1)];
    float* leaf_points = cloud.points + (long long)(slot / LEAF) * (4 * LEAF) + thread % LEAF;
    leaf_points[0] = point.x;
    leaf_points[LEAF] = point.y;
    leaf_points[2 * LEAF] = point.z;
    leaf_points[3 * LEAF] = point.w;

    Box leaf = box_around(box_of(point.x, point.y, point.z, __float_as_uint(point.w)), LEAF);
    if (thread % LEAF == 0) {
        boxes[thread / LEAF] = leaf;
        cloud.leaves[slot / LEAF] = leaf;
    }
    __syncthreads();
    if (warp >= TILES) return;
    Box tile = box_around_warp(boxes[warp * FAN + lane]);
    if (lane != 0) return;
    cloud.tiles[block * TILES + warp] = tile;
    if (tile.row == FULL) return;
    int node = first_super(cloud, part.sample) + (part.start / BLOCK * TILES + warp) / FAN;
    grow_super(cloud.supers + (long long)node * 8, tile);
}

// No block goes on before all have arrived; they must all be resident (cooperative launch).
__device__ inline void wait_for_all(u32* arrived, u32 goal) {
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        atomicAdd(arrived, 1u);
        while (*(volatile u32*)arrived < goal) {}
        __threadfence();
    }
    __syncthreads();
}

__device__ inline int items_of(const Cloud& cloud, int phase) {
    if (phase == 0) return cloud.samples;
    if (phase == 2 || phase == 3) return cloud.cells[cloud.samples] / CHUNK;
    return cloud.block[cloud.samples];
}

// Beside the first: nobody has pulled yet.
__device__ inline void no_pulls(const Cloud& cloud) {
    if (!cloud.pulls) return;
    long long first = cloud.row[0], end = cloud.row[cloud.samples];
    for (long long i = 3 * first + blockIdx.x * BLOCK + threadIdx.x; i < 3 * end; i += gridDim.x * BLOCK) cloud.pulls[i] = 0;
}

// All six, one after the other, over the clouds to build.
extern "C" __global__ void __launch_bounds__(BLOCK, 2) build(const __grid_constant__ Clouds clouds) {
    for (int phase = 0; phase < 6; phase++) {
        if (clouds.phase >= 0 && clouds.phase != phase) continue;
        if (clouds.phase < 0 && phase > 0) wait_for_all(clouds.barrier, phase * gridDim.x);
        if (phase == 0) { no_pulls(clouds.cloud[0]); no_pulls(clouds.cloud[1]); }
        for (int which = clouds.first; which < clouds.first + clouds.several; which++) {
            const Cloud& cloud = clouds.cloud[which];
            // The second cloud begins where the first one ended, so that all blocks have work.
            int skip = which > clouds.first ? items_of(clouds.cloud[clouds.first], phase) % gridDim.x : 0;
            int items = items_of(cloud, phase);
            for (int item = (blockIdx.x + gridDim.x - skip) % gridDim.x; item < items; item += gridDim.x) {
                if (phase == 0) survey(cloud, item);
                else if (phase == 1) count(cloud, item);
                else if (phase == 2) total(cloud, item);
                else if (phase == 3) scan(cloud, item);
                else if (phase == 4) scatter(cloud, item);
                else arrange(cloud, item);
                __syncthreads();
            }
        }
    }
}
