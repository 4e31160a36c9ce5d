using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

/// <summary>Deltas of an initrd that zstd compressed, made of what it unpacks to. The judges: zstd itself, and real ostree, which must not notice.</summary>
public sealed class RecompressedInitrdTests
{
    private const int Size = 9_000_000; // more than zstd looks back on, or it would say another window
    private const string Initrd = "usr/lib/modules/{0}/initramfs.img";

    // Of the system's version; by the program from a file, as initrds are made, and from a pipe; and of the version that is ours.
    [Theory, InlineData("file"), InlineData("pipe"), InlineData("ours")]
    public async Task An_initrd_travels_as_what_changed_in_it_and_real_ostree_takes_the_usual_delta(string made)
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, made, out Checksum old, out Checksum fresh);
        DeltaReport report = source.MakeDelta(new DeltaName(old, fresh), new DeltaOptions { Recompress = true, MinimumFallback = 0 });
        Assert.Equal(1, report.Recompressed);
        Assert.True(report.RecompressedSize * 10 < report.Size, $"{report.RecompressedSize} of {report.Size}");
        source.WriteSummary();

        using var server = new StaticServer(source.Path);
        using Repository ours = Client(scratch, source, old, server, "ours"), theirs = Client(scratch, source, old, server, "theirs");
        PullResult pulled = await ours.Pull(new PullOptions { Remote = "far", Refs = ["main"] });
        Assert.Empty(pulled.Notes);
        Assert.DoesNotContain(server.Requests, static each => each.EndsWith(".filez", StringComparison.Ordinal));
        Judge.Ostree.Run($"--repo={theirs.Path}", "pull", "far", "main");
        foreach (Repository target in (Repository[])[ours, theirs])
        {
            Assert.Equal(fresh, target.Resolve("far:main"));
            Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={target.Path}"));
        }
    }

    // As on a box whose zstd is neither that of who publishes nor ours.
    [Fact]
    public async Task One_that_another_version_of_zstd_made_is_fetched_by_itself_and_said()
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, "ours", out Checksum old, out Checksum fresh);
        var name = new DeltaName(old, fresh);
        source.MakeDelta(name, new DeltaOptions { Recompress = true });
        RecompressingDeltaTests.Tamper(source, name, static operations =>
        {
            int at = operations.AsSpan().IndexOf((ReadOnlySpan<byte>)[(byte)DeltaOperation.Recompress, (byte)ZstdPacking.Zstd]) + 2;
            for (int numbers = 0; numbers < 2; at++)
                numbers += operations[at] < 0x80 ? 1 : 0;
            operations[at] ^= 1; // the version
        });
        using var server = new StaticServer(source.Path);
        using Repository target = Client(scratch, source, old, server, "target");
        PullResult pulled = await target.Pull(new PullOptions { Remote = "far", Refs = ["main"] });
        Assert.Contains("1 files were fetched by themselves", Assert.Single(pulled.Notes), StringComparison.Ordinal);
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={target.Path}"));
    }

    // What needs more memory to be made than there may be: level 19 as it is, or more to look back on.
    [Theory, InlineData("-19"), InlineData("-19 --zstd=wlog=24")]
    public void One_that_was_compressed_in_another_way_has_no_smaller_delta(string options)
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, options, out Checksum old, out Checksum fresh);
        DeltaReport report = source.MakeDelta(new DeltaName(old, fresh), new DeltaOptions { Recompress = true });
        Assert.Equal(0, report.Recompressed);
        Assert.Null(source.ReadRecompressing(DeltaSuperblock.Parse(source.ReadSuperblock($"{report.Name}"))));
    }

    private static Repository Client(Scratch scratch, Repository source, Checksum old, StaticServer server, string name)
    {
        Repository target = Repository.Create(scratch[$"target-{name}"], RepositoryMode.Bare);
        target.PullLocal(source, new PullLocalOptions { Refs = [$"{old}"] });
        target.WriteConfig(target.Config.With("remote \"far\"", "url", server.Url).With("remote \"far\"", "gpg-verify", "false").With("remote \"far\"", "sbox-recompress", "always"));
        return target;
    }

    // A megabyte of letters, some of them more often than others, at both ends, and numbers between: of what is compressed all bits lie elsewhere behind the first change.
    private static Repository Two(Scratch scratch, string made, out Checksum old, out Checksum fresh)
    {
        Repository source = Repository.Create(scratch["source"], RepositoryMode.Archive);
        var content = new byte[Size];
        for (int at = 0; at < Size; at++)
            content[at] = (byte)(at >> 12);
        var random = new Random(8);
        foreach (int from in (int[])[0, Size - 500_000])
        {
            for (int at = from; at < from + 500_000; at++)
                content[at] = (byte)('a' + (random.Next(6) * random.Next(6)));
        }

        Checksum Commit(string version)
        {
            string path = Path.Combine(scratch[version], string.Format(null, Initrd, version));
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            Compress(scratch, content, made, path);
            return source.CommitDirectory(scratch[version], new CommitOptions { Branches = ["main"], Timestamp = Scratch.Time.AddDays(version[^1]) });
        }

        old = Commit("6.1");
        for (int at = 50; at < Size; at += 10_000)
            content[at] ^= 0x55;
        fresh = Commit("6.2");
        return source;
    }

    private static void Compress(Scratch scratch, byte[] content, string made, string path)
    {
        if (made == "ours")
        {
            using FileStream output = File.Create(path);
            using var encoders = new XzEncoders();
            new ZstdPacking(ZstdPacking.OwnVersion, ZstdSettings.Modest with { HasChecksum = true, SaysSize = true }).Pack(new MemoryStream(content), content.Length, output, encoders, static () => true);
            return;
        }

        File.WriteAllBytes(scratch["to-compress"], content);
        string options = made is "file" or "pipe" ? $"-19 --single-thread {ZstdSettings.Modest.Argument}" : made;
        string input = made == "pipe" ? $"< {scratch["to-compress"]} -c > {path}" : $"{scratch["to-compress"]} -o {path}";
        Judge.OnPath("sh").Run("-c", $"zstd -q {options} {input}");
    }
}
