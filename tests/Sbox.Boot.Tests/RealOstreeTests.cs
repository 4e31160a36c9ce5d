using Sbox.Judges;

namespace Sbox.Boot.Tests;

/// <summary>Real ostree deploys; its boot entry reads and prints as it was, and changes to kernel arguments come out as its own do.</summary>
public sealed class RealOstreeTests : IDisposable
{
    private readonly string directory = Directory.CreateTempSubdirectory("sbox-entry-").FullName;

    public RealOstreeTests()
    {
        // Else deployments are immutable files that only chattr gets rid of.
        Environment.SetEnvironmentVariable("OSTREE_SYSROOT_DEBUG", "mutable-deployments");
        string tree = $"{directory}/tree", modules = $"{tree}/usr/lib/modules/6.12-test";
        foreach (string made in new[] { modules, $"{tree}/usr/etc", $"{tree}/boot", $"{tree}/sysroot", $"{tree}/var" })
            Directory.CreateDirectory(made);
        File.WriteAllText($"{modules}/vmlinuz", "kernel");
        File.WriteAllText($"{modules}/initramfs.img", "initrd");
        File.WriteAllText($"{tree}/usr/lib/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n");

        Directory.CreateDirectory(Sysroot);
        Admin("init-fs", "--modern", Sysroot);
        Directory.CreateDirectory($"{Sysroot}/boot");
        Judge.Ostree.Run($"--repo={Sysroot}/ostree/repo", "commit", "--branch=test", $"--tree=dir={tree}", "--add-metadata-string=version=7");
        Admin("os-init", $"--sysroot={Sysroot}", "debian");
    }

    private string Sysroot => $"{directory}/sysroot";

    private string EntryText => File.ReadAllText(Assert.Single(Directory.GetFiles($"{Sysroot}/boot/loader/entries")));

    [Fact]
    public void Its_boot_entry_reads_and_prints_as_it_was()
    {
        Admin("deploy", $"--sysroot={Sysroot}", "--os=debian", "--karg=root=LABEL=sbox-root", "--karg=quiet", "test");
        BootEntry entry = BootEntry.Parse(EntryText);
        Assert.Equal(EntryText, entry.ToString());
        Assert.StartsWith("Debian GNU/Linux 13 (trixie)", entry.Title, StringComparison.Ordinal);
        Assert.Equal("LABEL=sbox-root", entry.Options.Get("root"));
        Assert.StartsWith("/ostree/boot.", entry.Options.Get("ostree"), StringComparison.Ordinal);
        Assert.Single(entry.Initrds);

        DeploymentName? target = PhysicalRoot.Look(Sysroot, entry.Options.Get("ostree")).OstreeLinkTarget;
        Assert.Equal(Assert.Single(PhysicalRoot.Look(Sysroot, null).Deployments).Name, target);
    }

    [Theory]
    [InlineData("a=1 b c=2", "--append=d=4", "a=1 b c=2 d=4")]
    [InlineData("a=1 a=2", "--append=a=3", "a=1 a=2 a=3")]
    [InlineData("a=1 b c=2", "--replace=a=9", "a=9 b c=2")]
    [InlineData("a=1 b a=2 c", "--replace=a=9", "a=9 b c")]
    public void Arguments_change_as_it_changes_them(string before, string change, string expected)
    {
        Admin(["deploy", $"--sysroot={Sysroot}", "--os=debian", .. before.Split(' ').Select(static argument => $"--karg-append={argument}"), "test"]);
        Admin("instutil", "set-kargs", $"--sysroot={Sysroot}", "--merge", change);
        KernelArguments theirs = BootEntry.Parse(EntryText).Options;
        Assert.Equal(expected, KernelArguments.Of(theirs.Where(static argument => argument.Key != "ostree")).ToString());

        (string verb, string value) = (change[2..change.IndexOf('=', StringComparison.Ordinal)], change[(change.IndexOf('=', StringComparison.Ordinal) + 1)..]);
        KernelArguments ours = KernelArguments.Parse(before);
        Assert.Equal(expected, (verb == "append" ? ours.Append(value) : ours.Set(new KernelArgument(value))).ToString());
    }

    public void Dispose() => Directory.Delete(directory, recursive: true);

    private static void Admin(params string[] arguments) => Judge.Ostree.Run(["admin", .. arguments]);
}
