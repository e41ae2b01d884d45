"""Builds the optional native CPU kernels; everything else about the project is in pyproject.toml.

The library links neither Python nor PyTorch, so its wheel serves every Python of a platform. Every instruction set is
compiled with its own flags and chosen when it runs; one whose flags the compiler does not know is left out. Without a
working C++ compiler the installation goes on without it.
"""

import logging
import platform
from pathlib import Path
from tempfile import TemporaryDirectory

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

log = logging.getLogger(__name__)

NATIVE = Path("videosieve/native")
COMMON = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-g0"]
AVX2 = ["-mavx2", "-mfma", "-mf16c"]
AVX512 = ["-mavx512f", "-mavx512dq", "-mfma", "-mf16c"]
AVX512_BF16 = [*AVX512, "-mavx512bw", "-mavx512bf16"]
AMX_BF16 = [*AVX512_BF16, "-mamx-tile", "-mamx-bf16"]
X86 = {
    "kernels_amx_bf16": (AMX_BF16, "tdpbf16ps %tmm2, %tmm1, %tmm0"),
    "kernels_avx512_bf16": (AVX512_BF16, "vdpbf16ps %zmm2, %zmm1, %zmm0"),
    "kernels_avx512": (AVX512, "vscalefps %zmm2, %zmm1, %zmm0"),
    "kernels_avx2": (AVX2, "vfmadd213ps %ymm2, %ymm1, %ymm0"),
}
"""Flags of a source, and an instruction that tells whether compiler and assembler know what they stand for."""


class BuildNative(build_ext):
    """Compiles every source with its own flags and links them under a name without a Python version."""

    def get_ext_filename(self, fullname: str) -> str:
        return f"{fullname.replace('.', '/')}.so"

    def build_extension(self, ext: Extension) -> None:
        objects = []
        for source in ext.sources:
            objects += self.compile_source(source, self.flags_of(Path(source).stem), ext.depends)
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        self.compiler.link_shared_object(objects, str(target), extra_postargs=["-pthread"], target_lang="c++")

    def compile_source(self, source: str, flags: list[str], depends: list[str]) -> list[str]:
        """Objects of a source; empty ones where its own flags are known and still do not compile it."""
        arguments = {"output_dir": self.build_temp, "depends": depends}
        try:
            return self.compiler.compile([source], extra_postargs=[*COMMON, *flags], **arguments)
        except CompileError:
            if not flags:
                raise
            log.warning("%s is left out: the compiler does not know all that it needs", Path(source).stem)
            return self.compiler.compile([source], extra_postargs=COMMON, **arguments)

    def flags_of(self, stem: str) -> list[str]:
        """Flags of a source; none where the compiler does not know them: the source is empty then."""
        if stem not in X86 or platform.machine().lower() not in ("x86_64", "amd64"):
            return []
        flags, instruction = X86[stem]
        if self.understands(flags, instruction):
            return flags
        log.warning("%s is left out: the compiler does not know %s", stem, " ".join(flags))
        return []

    def understands(self, flags: list[str], instruction: str) -> bool:
        """Whether the compiler takes the flags and its assembler the instruction."""
        with TemporaryDirectory() as folder:
            probe = Path(folder) / "probe.cpp"
            probe.write_text(f'void probe() {{ __asm__ volatile("{instruction}"); }}\n')
            try:
                self.compiler.compile([str(probe)], output_dir=folder, extra_postargs=flags)
            except CompileError:
                return False
        return True


class PlatformWheel(bdist_wheel):
    """A wheel for every Python 3 of this platform, or of any platform where nothing was compiled."""

    def get_tag(self) -> tuple[str, str, str]:
        built = any(Path(self.bdist_dir or self.data_dir).rglob("videosieve_native.so"))
        return "py3", "none", super().get_tag()[2] if built else "any"


setup(
    ext_modules=[
        Extension(
            "videosieve.native.videosieve_native",
            sources=sorted(map(str, NATIVE.glob("*.cpp"))),
            depends=sorted(map(str, [*NATIVE.glob("*.hpp"), *NATIVE.glob("*.h")])),
            language="c++",
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildNative, "bdist_wheel": PlatformWheel},
)
