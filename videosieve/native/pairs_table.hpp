// The kernels of a set whose products are of pairs of bf16, beside those of a set that computes everything else.
#pragma once

// The tasks whose products may be of pairs.
#include "antidiagonals.hpp"
#include "centroid_mass.hpp"
#include "estimates.hpp"
#include "sampled.hpp"

namespace {

using videosieve::Kernels;

inline size_t larger(size_t a, size_t b) { return a > b ? a : b; }

// `plain` gives the set for what is not of pairs, and `Scope` lives as long as a task of pairs.
template <const Kernels& plain(), class Scope>
Kernels table_with_pairs(const char* name) {
    Kernels kernels = plain();
    kernels.name = name;
    kernels.pairs = true;
    kernels.attention = [](const videosieve::AttentionTask& task, float* scratch) {
        if (!task.numbers.pairs) return plain().attention(task, scratch);
        const Scope scope;
        attention(task, scratch);
    };
    kernels.sampled = [](const SampledTask& task, float* scratch) {
        if (!task.numbers.pairs) return plain().sampled(task, scratch);
        const Scope scope;
        sampled(task, scratch);
    };
    kernels.mass = [](const MassTask& task, float* scratch) {
        if (!task.numbers.pairs) return plain().mass(task, scratch);
        const Scope scope;
        mass(task, scratch);
    };
    kernels.antidiagonal = [](const AntidiagonalTask& task, float* scratch) {
        if (!task.numbers.pairs) return plain().antidiagonal(task, scratch);
        const Scope scope;
        antidiagonal(task, scratch);
    };
    kernels.antidiagonal_mass = [](const AntidiagonalMassTask& task, float* scratch) {
        if (!task.cells.numbers.pairs) return plain().antidiagonal_mass(task, scratch);
        const Scope scope;
        antidiagonal_mass(task, scratch);
    };
    kernels.centroid_mass = [](const CentroidMassTask& task, float* scratch) {
        if (!task.numbers.pairs) return plain().centroid_mass(task, scratch);
        const Scope scope;
        centroid_mass(task, scratch);
    };
    kernels.pair = pair;
    kernels.paired_keys = paired_keys;
    kernels.paired_values = paired_values;
    // Scratch must serve both: a thread does not know yet what its tasks are.
    kernels.attention_scratch = [](int head_dim) {
        return larger(attention_scratch(head_dim), plain().attention_scratch(head_dim));
    };
    kernels.sampled_scratch = [](int head_dim, int masks) {
        return larger(sampled_scratch(head_dim, masks), plain().sampled_scratch(head_dim, masks));
    };
    kernels.mass_scratch = [](int head_dim) {
        return larger(mass_scratch(head_dim), plain().mass_scratch(head_dim));
    };
    kernels.antidiagonal_scratch = [](int head_dim, int stride, int cells) {
        return larger(antidiagonal_scratch(head_dim, stride, cells), plain().antidiagonal_scratch(head_dim, stride, cells));
    };
    kernels.antidiagonal_mass_scratch = [](int head_dim, int stride, int64_t columns, int panels) {
        return larger(antidiagonal_mass_scratch(head_dim, stride, columns, panels),
                      plain().antidiagonal_mass_scratch(head_dim, stride, columns, panels));
    };
    kernels.centroid_mass_scratch = [](int head_dim, int64_t keys) {
        return larger(centroid_mass_scratch(head_dim, keys), plain().centroid_mass_scratch(head_dim, keys));
    };
    return kernels;
}

}  // namespace
