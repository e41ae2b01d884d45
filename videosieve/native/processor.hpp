// What the processor can do, and the system lets this process use. Asked once.
#pragma once

namespace videosieve {

bool has_avx2();         // with FMA and F16C
bool has_avx512();       // F and DQ
bool has_avx512_bf16();  // with BW
bool has_amx_bf16();     // with AVX-512 BF16; asks Linux for the tiles, which it grants to a process and its children

}  // namespace videosieve
