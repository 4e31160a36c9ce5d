using System.Buffers.Binary;
using System.Security.Cryptography;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

/// <summary>Deltas of files that xz compressed, made of what they unpack to. The judges: xz itself, and real ostree, which must not notice.</summary>
public sealed class RecompressingDeltaTests
{
    private const string Module = "usr/lib/modules/{0}/kernel/{1}.ko.xz";

    // As Debian's kernels are (xz --threads); another level; another check; more than one block; hard, with a smaller dictionary.
    private static readonly (string Name, int Size, string[] Options)[] Modules =
    [
        ("ext4", 400_000, ["-T2", "--check=crc32", "--lzma2=dict=1MiB"]), ("one", 300_000, ["-T1", "-1"]), ("two", 300_000, ["-T1", "--check=sha256", "-0"]),
        ("large", 3_300_000, ["-T2", "--check=crc32", "--lzma2=dict=1MiB"]), ("hard", 200_000, ["-T1", "--check=none", "--lzma2=preset=6e,dict=512KiB"]),
    ];

    [Fact]
    public async Task Kernel_modules_travel_as_what_changed_in_them_and_real_ostree_takes_the_usual_delta()
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out Checksum old, out Checksum fresh);
        DeltaReport report = source.MakeDelta(new DeltaName(old, fresh), new DeltaOptions { Recompress = true, MinimumFallback = 100_000 });
        Assert.Equal(Modules.Length, report.Recompressed);
        Assert.NotEmpty(report.Fallbacks); // of which the smaller one has none
        Assert.True(report.RecompressedSize * 5 < report.Size + report.Fallbacks.Sum(static each => (long)each.Size), $"{report.RecompressedSize} of {report.Size}");
        source.WriteSummary();

        using var server = new StaticServer(source.Path);
        foreach (string use in (string[])["always", "never"])
        {
            using Repository target = Client(scratch, source, old, server, use);
            server.Requests.Clear();
            PullResult pulled = await target.Pull(new PullOptions { Remote = "far", Refs = ["main"] });
            Assert.Empty(pulled.Notes);
            Assert.Equal(use == "always", server.Requests.Any(static each => each.Contains("/recompressing.", StringComparison.Ordinal)));
            Assert.True((use != "always") == server.Requests.Any(static each => each.EndsWith(".filez", StringComparison.Ordinal)), use);
            Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={target.Path}"));
            Assert.Equal(fresh, target.Resolve("far:main"));
        }

        using Repository theirs = Client(scratch, source, old, server, "auto");
        server.Requests.Clear();
        Judge.Ostree.Run($"--repo={theirs.Path}", "pull", "far", "main");
        Assert.Contains(server.Requests, static each => each.EndsWith("/0", StringComparison.Ordinal));
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={theirs.Path}"));
        Assert.Contains($"{old}-{fresh}", Judge.Ostree.Run($"--repo={source.Path}", "static-delta", "list"));
        Judge.Ostree.Run($"--repo={source.Path}", "static-delta", "delete", $"{old}-{fresh}");
        Assert.False(Directory.Exists(Path.Combine(source.Path, report.Name.Directory)));
    }

    // A kernel of Debian: 85 MB less, 480 MB to compress.
    [Theory]
    [InlineData(100_000_000, 2, false)] // in the next room
    [InlineData(1_000_000, 2, true)]
    [InlineData(3_000_000, 2, false)]
    [InlineData(2_000_000, 8, true)]
    [InlineData(3_000_000, 8, false)] // three at once are all that there ever are
    public void It_is_taken_where_the_line_is_slower_than_the_processor(double rate, int processors, bool sooner) =>
        Assert.Equal(sooner, new RecompressingDelta(default, 4_000_000, 480_000_000).IsSooner(85_000_000, rate, processors));

    // A liblzma of another version may compress otherwise: here the delta says another level than the files were made with.
    [Fact]
    public async Task What_comes_out_otherwise_here_is_fetched_by_itself_and_said()
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out Checksum old, out Checksum fresh);
        var name = new DeltaName(old, fresh);
        source.MakeDelta(name, new DeltaOptions { Recompress = true });
        Tamper(source, name, OtherLevels);
        using var server = new StaticServer(source.Path);
        using Repository target = Client(scratch, source, old, server, "always");
        PullResult pulled = await target.Pull(new PullOptions { Remote = "far", Refs = ["main"] });
        Assert.Contains($"{Modules.Length} files were fetched by themselves", Assert.Single(pulled.Notes));
        Assert.Equal(Modules.Length, server.Requests.Count(static each => each.EndsWith(".filez", StringComparison.Ordinal)));
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={target.Path}"));
    }

    [Fact]
    public void From_a_file_too_it_is_applied_and_what_comes_out_otherwise_is_named_with_its_path()
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out Checksum old, out Checksum fresh);
        var name = new DeltaName(old, fresh);
        source.MakeDelta(name, new DeltaOptions { Recompress = true });
        string smaller = Path.Combine(source.Path, name.RecompressingSuperblock);
        using Repository target = Repository.Create(scratch["target"], RepositoryMode.Bare), other = Repository.Create(scratch["other"], RepositoryMode.Bare);
        foreach (Repository each in (Repository[])[target, other])
            each.PullLocal(source, new PullLocalOptions { Refs = [$"{old}"] });
        target.ApplyDelta(smaller);
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={target.Path}"));

        Tamper(source, name, OtherLevels);
        var refused = Assert.Throws<CompressedOtherwiseException>(() => other.ApplyDelta(smaller));
        Assert.Equal((smaller, Modules.Length), (refused.Path, refused.Count));
        Assert.Equal(new ObjectName(source.Find(fresh, refused.File!).Content!.Value, ObjectType.File), refused.Name);
        Assert.StartsWith("/usr/lib/modules/6.2/kernel/", refused.File, StringComparison.Ordinal);
        Assert.Contains(refused.File!, refused.Message, StringComparison.Ordinal);
        Assert.False(other.Has(new ObjectName(fresh, ObjectType.Commit)));
        other.ApplyDelta(Path.Combine(source.Path, name.Directory)); // the way out
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={other.Path}"));
    }

    [Theory]
    [InlineData("recompressing", "the usual delta was taken")]
    [InlineData("recompressing.1", "was fetched by itself")]
    [InlineData("0", "was fetched by itself")] // of both
    public async Task What_is_missing_of_it_is_had_otherwise_and_said(string missing, string note)
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out Checksum old, out Checksum fresh, modules: 2);
        var name = new DeltaName(old, fresh);
        source.MakeDelta(name, new DeltaOptions { Recompress = true });
        source.WriteSummary();
        File.Delete(Path.Combine(source.Path, name.Directory, missing));
        using var server = new StaticServer(source.Path);
        using Repository target = Client(scratch, source, old, server, "always");
        PullResult pulled = await target.Pull(new PullOptions { Remote = "far", Refs = ["main"] });
        Assert.Contains(note, Assert.Single(pulled.Notes), StringComparison.Ordinal);
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={target.Path}"));
    }

    [Theory]
    [InlineData(1, "recompression, level")]
    [InlineData(2, "recompression, dictionary")]
    [InlineData(3, "bytes to compress")]
    public async Task What_a_part_may_not_say_ends_the_pull_and_nothing_is_kept(int what, string finding)
    {
        using var scratch = new Scratch();
        using Repository source = Two(scratch, out Checksum old, out Checksum fresh, modules: 2);
        var name = new DeltaName(old, fresh);
        source.MakeDelta(name, new DeltaOptions { Recompress = true });
        Tamper(source, name, operations =>
        {
            int at = operations.AsSpan().IndexOf((ReadOnlySpan<byte>)[(byte)DeltaOperation.Recompress, 1]) + 2, numbers = 0;
            for (; numbers < 2; at++)
                numbers += operations[at] < 0x80 ? 1 : 0;
            if (what == 1)
                operations[at] = 10;
            else if (what == 2)
                (operations[at + 2], operations[at + 3]) = (0x81, 0x01);
            else
                operations[at - 1] = 0x7F; // what the new one unpacks to
        });
        using var server = new StaticServer(source.Path);
        using Repository target = Client(scratch, source, old, server, "always");
        Exception refused = await Assert.ThrowsAnyAsync<Exception>(() => target.Pull(new PullOptions { Remote = "far", Refs = ["main"] }));
        Assert.Contains(finding, refused.ToString(), StringComparison.Ordinal);
        Assert.False(target.Has(new ObjectName(fresh, ObjectType.Commit)));
    }

    [Fact]
    public void How_a_file_was_compressed_is_read_from_its_first_bytes()
    {
        using var scratch = new Scratch();
        foreach ((int bits, bool blocks, string check, int number) in ((int, bool, string, int)[])[(12, false, "none", 0), (16, false, "crc32", 1), (18, true, "crc64", 4), (20, true, "sha256", 10)])
        {
            byte[] xz = Compressed(scratch, new byte[100_000], [$"-T{(blocks ? 2 : 1)}", $"--check={check}", $"--lzma2=dict={1 << bits}"]);
            XzSettings? shape = XzPacking.Shape(xz.AsSpan(0, Packing.ShapeSize));
            Assert.Equal((1u << bits, blocks, number), (shape!.DictionarySize, shape.Blocks, shape.Check));
        }

        Assert.Null(XzPacking.Shape(Compressed(scratch, new byte[100_000], ["-T1", "-2"]).AsSpan(0, Packing.ShapeSize))); // 2 MiB to look back on
        Assert.Null(XzPacking.Shape(Compressed(scratch, new byte[100_000], ["-T1", "--x86", "--lzma2=dict=1MiB"]).AsSpan(0, Packing.ShapeSize)));
        Assert.Null(XzPacking.Shape(new byte[Packing.ShapeSize]));
    }

    private static Repository Client(Scratch scratch, Repository source, Checksum old, StaticServer server, string use)
    {
        Repository target = Repository.Create(scratch[$"target-{Guid.NewGuid():N}"], RepositoryMode.Bare);
        target.PullLocal(source, new PullLocalOptions { Refs = [$"{old}"] });
        target.WriteConfig(target.Config.With("remote \"far\"", "url", server.Url).With("remote \"far\"", "gpg-verify", "false").With("remote \"far\"", "sbox-recompress", use));
        return target;
    }

    private static Repository Two(Scratch scratch, out Checksum old, out Checksum fresh, int modules = 5)
    {
        Repository source = Repository.Create(scratch["source"], RepositoryMode.Archive);
        Checksum Commit(string version, int change)
        {
            string tree = scratch[version];
            foreach ((string name, int size, string[] options) in Modules.Take(modules))
            {
                var content = new byte[size];
                new Random(size).NextBytes(content.AsSpan(0, Math.Min(size, 250_000))); // the rest is easily compressed
                for (int at = change * 100; change > 0 && at < size; at += 50_000)
                    content[at] ^= 0x55;
                string path = Path.Combine(tree, string.Format(null, Module, version, name));
                Directory.CreateDirectory(Path.GetDirectoryName(path)!);
                File.WriteAllBytes(path, Compressed(scratch, content, options));
            }

            return source.CommitDirectory(tree, new CommitOptions { Branches = ["main"], Timestamp = Scratch.Time.AddDays(change) });
        }

        old = Commit("6.1", 0);
        fresh = Commit("6.2", 1);
        return source;
    }

    private static byte[] Compressed(Scratch scratch, byte[] content, string[] options)
    {
        string file = scratch["to-compress"];
        File.WriteAllBytes(file, content);
        Judge.OnPath("xz").Run([.. options, "--force", file]);
        return File.ReadAllBytes($"{file}.xz");
    }

    // Another level of xz than the files were made with: it comes behind the kind and two numbers of three or four bytes each.
    private static void OtherLevels(byte[] operations)
    {
        for (int at = 0; at < operations.Length - 8; at++)
        {
            if (operations[at] == (byte)DeltaOperation.Recompress && operations[at + 1] == XzPacking.Xz)
            {
                int level = at + 2;
                for (int numbers = 0; numbers < 2; level++)
                    numbers += operations[level] < 0x80 ? 1 : 0;
                operations[level] = 0;
            }
        }
    }

    // Changes the operations of the parts that the smaller delta has to itself, and has all that names them name what they are now.
    internal static void Tamper(Repository source, DeltaName name, Action<byte[]> change)
    {
        string directory = Path.Combine(source.Path, name.Directory), superblock = Path.Combine(source.Path, name.Superblock), smaller = Path.Combine(source.Path, name.RecompressingSuperblock);
        byte[] said = File.ReadAllBytes(superblock), smallerSaid = File.ReadAllBytes(smaller), before = SHA256.HashData(smallerSaid);
        DeltaSuperblock parsed = DeltaSuperblock.Parse(smallerSaid);
        for (int i = 0; i < parsed.Parts.Count; i++)
        {
            if (parsed.Parts[i].Version != DeltaSuperblock.RecompressingVersion)
                continue;
            string path = Path.Combine(source.Path, parsed.PathOf(i));
            byte[] raw;
            using (var xz = new XzDecoder(new MemoryStream(File.ReadAllBytes(path)[1..])))
            using (var all = new MemoryStream())
            {
                xz.CopyTo(all);
                raw = all.ToArray();
            }

            byte[] operations = OperationsOf(raw, out int at);
            change(operations);
            operations.CopyTo(raw, at);
            byte[] part = [0, .. raw];
            File.WriteAllBytes(path, part);
            int named = smallerSaid.AsSpan().IndexOf(parsed.Parts[i].Checksum.Span);
            SHA256.HashData(part, smallerSaid.AsSpan(named, 32));
            BinaryPrimitives.WriteInt64LittleEndian(smallerSaid.AsSpan(named + 36), part.Length);
        }

        File.WriteAllBytes(smaller, smallerSaid);
        SHA256.HashData(smallerSaid, said.AsSpan(said.AsSpan().IndexOf(before), 32));
        File.WriteAllBytes(superblock, said);
        Assert.True(Directory.Exists(directory));
        source.WriteSummary();
    }

    // The last of a part's four members: before it ends the third one, of which the first of three offsets at the end tells.
    private static byte[] OperationsOf(byte[] raw, out int at)
    {
        int size = raw.Length <= byte.MaxValue ? 1 : raw.Length <= ushort.MaxValue ? 2 : 4;
        Span<byte> offset = stackalloc byte[4];
        raw.AsSpan(raw.Length - (3 * size), size).CopyTo(offset);
        at = BinaryPrimitives.ReadInt32LittleEndian(offset);
        return raw[at..^(3 * size)];
    }
}
