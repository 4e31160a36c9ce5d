namespace Sbox.Image;

/// <summary>What a boot loader needs of a tree, in the place where libostree and we look for it: /usr/lib/modules/KVER.</summary>
internal static class BootFiles
{
    /// <summary>Moves the one kernel from /boot, where Debian installs it.</summary>
    /// <returns>The kernel's version.</returns>
    /// <exception cref="BuildFailedException">There is no kernel, or more than one.</exception>
    public static string MoveKernel(TreeRoot tree)
    {
        const string prefix = "vmlinuz-";
        string[] kernels = [.. tree.Names("boot").Where(name => name.StartsWith(prefix, StringComparison.Ordinal))];
        if (kernels is not [{ } kernel])
        {
            throw new BuildFailedException("kernel", kernels.Length == 0
                ? "the packages install no kernel into /boot; add linux-image-amd64 to the recipe"
                : $"the packages install {kernels.Length} kernels ({string.Join(", ", kernels)}); a tree boots one");
        }

        string version = kernel[prefix.Length..];
        if (!tree.IsDirectory($"usr/lib/modules/{version}"))
            throw new BuildFailedException("kernel", $"/boot/{kernel} has no modules in /usr/lib/modules/{version}");
        tree.Move($"boot/{kernel}", $"usr/lib/modules/{version}/vmlinuz");
        if (tree.Exists($"boot/config-{version}"))
            tree.Move($"boot/config-{version}", $"usr/lib/modules/{version}/config");
        return version;
    }
}
