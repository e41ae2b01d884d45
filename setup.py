"""Builds the optional native CPU kernels; everything else about the project is in pyproject.toml.

The library links neither Python nor PyTorch, so its wheel serves every Python of a platform. Every instruction set is
compiled with its own flags and chosen when it runs. Without a working C++ compiler the installation goes on without it.
"""

import platform
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

NATIVE = Path("videosieve/native")
COMMON = ["-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-g0"]
X86 = {
    "kernels_avx512_bf16": ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512bf16", "-mfma", "-mf16c"],
    "kernels_avx512": ["-mavx512f", "-mavx512dq", "-mfma", "-mf16c"],
    "kernels_avx2": ["-mavx2", "-mfma", "-mf16c"],
}


class BuildNative(build_ext):
    """Compiles every source with its own flags and links them under a name without a Python version."""

    def get_ext_filename(self, fullname: str) -> str:
        return f"{fullname.replace('.', '/')}.so"

    def build_extension(self, ext: Extension) -> None:
        x86 = platform.machine().lower() in ("x86_64", "amd64")
        objects = []
        for source in ext.sources:
            flags = X86.get(Path(source).stem, []) if x86 else []
            try:
                objects += self.compile_source(source, flags, ext)
            except CompileError:
                if "-mavx512bf16" not in flags:
                    raise
                objects += self.compile_source(source, [], ext)  # an older compiler: the source is empty then
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        self.compiler.link_shared_object(objects, str(target), extra_postargs=["-pthread"], target_lang="c++")

    def compile_source(self, source: str, flags: list[str], ext: Extension) -> list[str]:
        return self.compiler.compile(
            [source], output_dir=self.build_temp, extra_postargs=[*COMMON, *flags], depends=ext.depends
        )


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
