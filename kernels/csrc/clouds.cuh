// SPDX-FileCopyrightText: The sceneflow authors
// SPDX-License-Identifier: Apache-2.0
// What every kernel is given: two ragged clouds, cut into blocks of BLOCK points that never cross samples.
// docs/nearest-neighbour.md explains the structure. Host twin of these structs: kernels/cuda/layout.py, whose Shape gives
// LEAF (points in a leaf), LANES (that share a query), PATIENCE (visits of tiles and leaves that a packet makes together),
// WARPS (packets in a block of the search) and RESIDENT (blocks of the search that a multiprocessor must hold).

#define BLOCK 1024      // points in a block: one thread each; the last block of a sample is padded
#define SAMPLES 64      // most samples in one launch
#define FAN 32          // children of a node: one a lane
#define TILES (BLOCK / (LEAF * FAN))  // tiles in a block
static_assert((LEAF & (LEAF - 1)) == 0 && LEAF >= 2 && LEAF <= 32, "leaf must be a power of two from 2 to 32");
#define FULL 0xffffffffu
#define NOT_A_NUMBER __uint_as_float(0x7fffffffu)
#define INFINITE __uint_as_float(0x7f800000u)

typedef unsigned int u32;
typedef unsigned long long u64;

struct Box {            // 32 bytes
    float low[3];
    u32 row;            // least row inside
    float high[3];
    u32 unused;
};

struct Scene {
    float middle[3];         // mean of the points
    float spread[3];         // mean distance from it along each axis
};

struct Cloud {
    const float* source;     // (N, 3)
    float* points;           // (blocks * BLOCK / LEAF, 4, LEAF) in search order: x, y, z and the row's bits of each leaf
    Box* leaves;             // (blocks * BLOCK / LEAF)
    Box* tiles;              // (blocks * TILES), 32 leaves each
    u32* supers;             // (blocks * TILES / 32 + samples, 8), 32 tiles each, as ordered integers; zero at first
    u32* table;              // counts, then first places, of the cells; zero at first
    u32* totals;             // (cells / CHUNK) points in each chunk of the table
    uint2* place;            // (N) cell and rank within the cell
    Scene* scene;            // (samples)
    long long* index;        // (N) answer: row of the other cloud or -1
    float* distance;         // (N) answer: m^2 or infinity
    long long* pulls;        // (N, 3) sum of the gaps to the queries that chose a point, times scale; or null
    double scale;            // a power of two
    int row[SAMPLES + 1];    // first point of each sample
    int block[SAMPLES + 1];  // first block of each sample
    int cells[SAMPLES + 1];  // first cell of each sample
    int samples;
};

struct Clouds {
    Cloud cloud[2];
    float limit;             // greatest squared distance that counts
    int first;               // the cloud to begin with
    u32* barrier;            // blocks that have arrived, and packets of either cloud that gave up; zero at first
    int several;             // how many clouds to build
    int phase;               // of the build: -1 for all of them, one after the other
    u32* apart[2];           // packets of either cloud that gave up
};

static_assert(sizeof(Cloud) == 888 && sizeof(Clouds) == 2 * 888 + 40, "twin of layout.py");

struct Part {                // where a block lies
    int sample;
    int start;               // first point of the block within its sample
    int count;               // points in the sample
};

// The sample that holds element `at` of an ascending list of starts.
__device__ inline int sample_of(const int* starts, int samples, int at) {
    int low = 0, high = samples;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (starts[middle] <= at) low = middle; else high = middle;
    }
    return low;
}

__device__ inline Part part_of(const Cloud& cloud, int block) {
    Part part;
    part.sample = sample_of(cloud.block, cloud.samples, block);
    part.start = (block - cloud.block[part.sample]) * BLOCK;
    part.count = cloud.row[part.sample + 1] - cloud.row[part.sample];
    return part;
}

#if __CUDA_ARCH__ >= 800
__device__ inline u32 warp_min(u32 value) { return __reduce_min_sync(FULL, value); }
__device__ inline u32 warp_max(u32 value) { return __reduce_max_sync(FULL, value); }
#else
__device__ inline u32 warp_min(u32 value) {
    for (int step = 16; step > 0; step /= 2) value = min(value, __shfl_xor_sync(FULL, value, step));
    return value;
}
__device__ inline u32 warp_max(u32 value) {
    for (int step = 16; step > 0; step /= 2) value = max(value, __shfl_xor_sync(FULL, value, step));
    return value;
}
#endif
