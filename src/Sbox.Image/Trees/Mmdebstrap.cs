using Sbox.Linux;

namespace Sbox.Image;

/// <summary>Asks mmdebstrap for a tree with packages installed: apt resolves, dpkg unpacks, maintainer scripts run.</summary>
internal static class Mmdebstrap
{
    // Maintainer scripts write today's date into /etc/shadow and the like unless they are told another. Any fixed day will do.
    private const string FixedDay = "1735689600"; // 2025-01-01

    /// <summary>The command, in namespaces of its own so that no mount of it is ever seen or left behind.</summary>
    /// <param name="packages">What to install.</param>
    /// <param name="target">A directory that does not exist yet.</param>
    /// <param name="debs">The directory that keeps downloaded .debs.</param>
    public static ChildCommand Command(PackageChoices packages, string target, string debs)
    {
        string[] arguments =
        [
            "--mode=root", "--format=directory", $"--variant={packages.Variant}", $"--architectures={packages.Architecture}",
            $"--components={string.Join(',', packages.Components)}",
            .. packages.Packages.Count > 0 ? [$"--include={string.Join(',', packages.Packages)}"] : Array.Empty<string>(),
            .. packages.AptOptions.Select(option => $"--aptopt={option}"),
            .. DpkgOptions(packages).Select(option => $"--dpkgopt={option}"),

            // The hooks are shell, so what differs is passed in the environment and not spliced into their text.
            "--setup-hook=mkdir -p \"$1/var/cache/apt/archives\" \"$1/etc/dpkg/dpkg.cfg.d\"",
            "--setup-hook=echo force-unsafe-io > \"$1/etc/dpkg/dpkg.cfg.d/00sbox-build\"",
            "--setup-hook=mount --bind \"$SBOX_DEBS\" \"$1/var/cache/apt/archives\"",
            "--customize-hook=umount \"$1/var/cache/apt/archives\"",
            "--customize-hook=rm \"$1/etc/dpkg/dpkg.cfg.d/00sbox-build\"",
            "--skip=download/empty", "--skip=essential/unlink", "--skip=cleanup/apt/cache",
            packages.Suite, target, .. packages.Mirrors,
        ];
        return ChildProcess.InOwnNamespaces(new ChildCommand("flock", [$"{debs}/.sbox-lock", "mmdebstrap", .. arguments])
        {
            Title = "mmdebstrap", // flock only makes a second build wait for the .debs of the first
            Environment = new Dictionary<string, string>
            {
                ["SBOX_DEBS"] = debs,
                ["SOURCE_DATE_EPOCH"] = FixedDay,
                ["INITRD"] = "No", // dracut's hook would make an initrd that is thrown away
                ["DEBIAN_FRONTEND"] = "noninteractive",
            },
        });
    }

    // dpkg keeps these options in the tree, so that a layer added later leaves the same things out. Licences always stay.
    private static IEnumerable<string> DpkgOptions(PackageChoices packages)
    {
        if (!packages.Docs)
        {
            foreach (string pages in (string[])["man", "info", "doc", "lintian", "linda"])
                yield return $"path-exclude=/usr/share/{pages}/*";
            yield return "path-include=/usr/share/doc/*/copyright";
        }

        if (!packages.Locales)
            yield return "path-exclude=/usr/share/locale/*";
    }
}
