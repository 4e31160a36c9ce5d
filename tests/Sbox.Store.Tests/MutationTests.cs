using System.Text;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

/// <summary>
/// Every parser of the store, fed with true bytes that were damaged at random: errors of theirs are fine; crashes, hangs and memory beyond
/// bounds are not. A mutation fuzzer with structured seeds and without coverage: it knows the places that offsets and lengths are written at,
/// not which branches it met. What it found lies in tests/corpus/store and is replayed first. SBOX_FUZZ=N makes N inputs of each parser;
/// SBOX_SEED=S repeats a run.
/// </summary>
public sealed class MutationTests(ITestOutputHelper output)
{
    private const int Unasked = 3000;
    private const long MemoryBound = 256L << 20;
    private static readonly string Corpus = SourceTree.Of("tests", "corpus", "store");

    private static readonly Dictionary<string, (Action<byte[]> Parse, Func<IEnumerable<byte[]>> Seeds)> Parsers = new()
    {
        ["commit"] = (static bytes => Walk(Commit.Parse(bytes)), static () => Seeds.Metadata(ObjectType.Commit)),
        ["dirtree"] = (static bytes => DirTree.Parse(bytes), static () => Seeds.Metadata(ObjectType.DirTree)),
        ["dirmeta"] = (static bytes => DirMeta.Parse(bytes), static () => Seeds.Metadata(ObjectType.DirMeta)),
        ["detached"] = (static bytes => Walk(VariantDictionary.Parse(bytes)), static () => [Seeds.Dictionary().ToBytes()]),
        ["summary"] = (static bytes => ReadSummary(bytes), static () => [Seeds.File("summary")]),
        ["superblock"] = (static bytes => ReadSuperblock(bytes), static () => Seeds.Superblocks()),
        ["delta-part"] = (static bytes => ReadPart(bytes), static () => Seeds.Parts()),
        ["file-header"] = (static bytes => ArchiveFile.ParseHeader(bytes), static () => Seeds.Headers()),
        ["filez"] = (static bytes => ReadArchived(bytes), static () => Seeds.Archived()),
        ["keyfile"] = (static bytes => ReadKeyFile(bytes), static () => [Seeds.File("config"), "[remote \"a\"]\nurl=x\\sy\nbranches=a;b\\;c;\n# c\n"u8.ToArray()]),
        ["tar"] = (static bytes => ReadTree(bytes), static () => Seeds.Tars()),
        ["cookies"] = (static bytes => CookieFile.Container(CookieFile.Parse(Encoding.UTF8.GetString(bytes)), DateTimeOffset.UnixEpoch), static () => [".example.org\tTRUE\t/x\tFALSE\t2584559470\tbaz\tbadger\n"u8.ToArray()]),
        ["metalink"] = (static bytes => Metalink.Parse(bytes, "summary").Finding([1]), static () => [Seeds.Metalink()]),
        ["variant-text"] = (static bytes => GVariant.ParseText(Encoding.UTF8.GetString(bytes)), static () => ["{'a': <uint32 7>, 'b': <[(1, 'x'), (2, \"y\")]>, 'c': <@a{sv} {}>}"u8.ToArray(), "[byte 0x01, 0xff]"u8.ToArray()]),
    };

    public static TheoryData<string> Names => [.. Parsers.Keys];

    [Theory, MemberData(nameof(Names))]
    public void What_was_found_once_is_refused_in_order_for_ever(string name)
    {
        string directory = Path.Combine(Corpus, name);
        foreach (string file in Directory.Exists(directory) ? Directory.EnumerateFiles(directory) : [])
            Feed(name, File.ReadAllBytes(file), file);
        foreach (byte[] seed in Parsers[name].Seeds())
            Parsers[name].Parse(seed); // what is whole is read: else the rest would prove nothing
    }

    [Theory, MemberData(nameof(Names))]
    public void Damaged_bytes_give_an_error_of_ours_or_none_in_bounded_memory(string name)
    {
        int seed = int.TryParse(Environment.GetEnvironmentVariable("SBOX_SEED"), out int given) ? given : Random.Shared.Next();
        int count = int.TryParse(Environment.GetEnvironmentVariable("SBOX_FUZZ"), out int asked) ? asked : Unasked;
        var mutator = new Mutator(seed, [.. Parsers[name].Seeds()]);
        int read = 0;
        for (int i = 0; i < count; i++)
            read += Feed(name, mutator.Next(), $"SBOX_SEED={seed}, input {i}") ? 1 : 0;
        output.WriteLine($"{name}: {count} inputs, {read} of them read; SBOX_SEED={seed}");
    }

    private static bool Feed(string name, byte[] bytes, string what)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        bool read = false;
        try
        {
            Parsers[name].Parse(bytes);
            read = true;
        }
        catch (Exception fine) when (fine is MalformedException or RepositoryException or InvalidDataException or EndOfStreamException or SignatureException)
        {
            read = false; // said in order
        }
        catch (Exception defect)
        {
            Assert.Fail($"{name}: {what}: {defect.GetType().Name}: {defect.Message}\nkeep it: echo {Convert.ToBase64String(bytes)} | base64 -d > tests/corpus/store/{name}/NAME\n{defect.StackTrace}");
        }

        long used = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(used < MemoryBound, $"{name}: {what}: {bytes.Length} bytes took {used} bytes of memory\n{Convert.ToBase64String(bytes.Length < 4096 ? bytes : [])}");
        return read;
    }

    private static void Walk(Commit commit)
    {
        Walk(commit.Metadata);
        _ = commit.Sizes?.Count;
        _ = commit.ComposefsDigest;
        _ = commit.Version;
        _ = commit.IsBoundTo("main");
    }

    private static void Walk(VariantDictionary dictionary)
    {
        foreach (string key in dictionary.Keys)
            _ = dictionary[key]!.ToString();
    }

    private static void ReadSummary(byte[] bytes)
    {
        Summary summary = Summary.Parse(bytes);
        Walk(summary.Metadata);
        _ = summary.RefsOf("org.example.Other").Count;
        _ = DeltaStore.ParseList(summary.Metadata[DeltaSuperblock.ListKey]);
    }

    private static void ReadSuperblock(byte[] bytes)
    {
        DeltaSuperblock superblock = DeltaSuperblock.Parse(bytes);
        for (int i = 0; i < superblock.Parts.Count; i++)
            _ = superblock.Inline(i)?.Length;
    }

    private static void ReadPart(byte[] bytes)
    {
        using Dir tmp = Dir.Open(Path.GetTempPath());
        using var part = DeltaPart.Open(new MemoryStream(bytes, writable: false), expected: null, 64 << 20, tmp, "part");
        _ = part.ModeCount;
    }

    private static void ReadArchived(byte[] bytes)
    {
        if (bytes.Length < 8)
            throw new EndOfStreamException();
        int length = ArchiveFile.HeaderLength(bytes.AsSpan(0, 8));
        (FileHeader header, long size) = ArchiveFile.ParseHeader(bytes.AsSpan(8, Math.Min(length, bytes.Length - 8)));
        if (header.Mode.IsSymlink)
            return;
        int at = Math.Min(8 + length, bytes.Length);
        using var content = new ExactContent(ArchiveFile.Inflate(new MemoryStream(bytes, at, bytes.Length - at)), size);
        content.CopyTo(Stream.Null);
    }

    private static void ReadKeyFile(byte[] bytes)
    {
        KeyFile parsed = KeyFile.Parse(Encoding.UTF8.GetString(bytes));
        RepositorySettings.From(parsed);
        foreach (string group in parsed.Groups)
        {
            foreach (string key in parsed.Keys(group))
                _ = parsed.GetList(group, key).Count + (parsed.GetString(group, key)?.Length ?? 0);
            if (group.StartsWith("remote \"", StringComparison.Ordinal) && group.EndsWith('"') && group.Length > 8)
                RemoteSettings.From(parsed, group["remote \"".Length..^1]);
        }

        Assert.Equal(parsed.ToString(), KeyFile.Parse(parsed.ToString()).ToString());
    }

    private static void ReadTree(byte[] bytes)
    {
        foreach (ArchiveEntry entry in ArchiveTree.Read(new MemoryStream(bytes, writable: false), "archive"))
            entry.Content.CopyTo(Stream.Null);
    }

    /// <summary>Makes inputs of seeds: bits, bytes, numbers that matter to lengths, pieces cut, doubled and put elsewhere, offsets at the end.</summary>
    private sealed class Mutator(int seed, byte[][] seeds)
    {
        private static readonly long[] Numbers = [0, 1, 2, 7, 8, 127, 128, 255, 256, 32767, 65535, 65536, int.MaxValue, uint.MaxValue, long.MaxValue, -1, long.MinValue];
        private readonly Random random = new(seed);

        public byte[] Next()
        {
            List<byte> bytes = [.. seeds[random.Next(seeds.Length)]];
            for (int rounds = 1 + random.Next(4); rounds > 0; rounds--)
                Once(bytes);
            return [.. bytes];
        }

        private void Once(List<byte> bytes)
        {
            if (bytes.Count == 0)
            {
                bytes.Add((byte)random.Next(256));
                return;
            }

            int at = random.Next(3) == 0 ? Math.Max(0, bytes.Count - 1 - random.Next(12)) : random.Next(bytes.Count); // framing lies at the end
            switch (random.Next(7))
            {
                case 0:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    bytes[at] = (byte)random.Next(256);
                    break;
                case 2:
                    byte[] number = BitConverter.GetBytes(Numbers[random.Next(Numbers.Length)]);
                    bool big = random.Next(2) == 0;
                    for (int i = 0, width = 1 << random.Next(4); i < width && at + i < bytes.Count; i++)
                        bytes[at + i] = number[big ? width - 1 - i : i];
                    break;
                case 3:
                    bytes.RemoveRange(at, Math.Min(1 + random.Next(16), bytes.Count - at));
                    break;
                case 4:
                    bytes.RemoveRange(at, bytes.Count - at);
                    break;
                case 5:
                    bytes.InsertRange(at, bytes.GetRange(at, Math.Min(1 + random.Next(64), bytes.Count - at)));
                    break;
                default:
                    byte[] other = seeds[random.Next(seeds.Length)];
                    int from = random.Next(other.Length + 1);
                    bytes.RemoveRange(at, bytes.Count - at);
                    bytes.AddRange(other.AsSpan(from));
                    break;
            }
        }
    }

    /// <summary>True bytes of every format, of one small repository.</summary>
    private static class Seeds
    {
        private static readonly Lazy<Dictionary<string, byte[][]>> All = new(Make);

        public static IEnumerable<byte[]> Metadata(ObjectType type) => All.Value[$"{type}"];

        public static byte[] File(string name) => All.Value[name][0];

        public static IEnumerable<byte[]> Superblocks() => All.Value["superblock"];

        public static IEnumerable<byte[]> Parts() => All.Value["part"];

        public static IEnumerable<byte[]> Archived() => All.Value["filez"];

        public static IEnumerable<byte[]> Tars() => All.Value["tar"];

        public static IEnumerable<byte[]> Headers() => Archived().Select(static bytes => bytes[8..(8 + ArchiveFile.HeaderLength(bytes.AsSpan(0, 8)))]);

        public static VariantDictionary Dictionary() => VariantDictionary.Empty.With("a", "text").With("b", GVariant.ParseText("[(uint64 1, 'x'), (2, 'y')]")).With("c", GVariant.Of(true));

        public static byte[] Metalink() => Encoding.UTF8.GetBytes($"""
            <?xml version="1.0" encoding="utf-8"?>
            <metalink version="3.0" xmlns="http://www.metalinker.org/"><files><file name="summary"><size>3</size>
            <verification><hash type="sha256">{new string('a', 64)}</hash><hash type="sha512">{new string('b', 128)}</hash></verification>
            <resources><url protocol="http" preference="9">http://a/summary</url><url protocol="https">https://b/summary</url></resources></file></files></metalink>
            """);

        private static Dictionary<string, byte[][]> Make()
        {
            using var scratch = new Scratch();
            using Repository repository = Repository.Create(scratch["repo"], RepositoryMode.Archive, "org.example.Own");
            repository.WriteConfig(repository.Config.With("remote \"o\"", "url", "http://x/").With("remote \"o\"", "branches", "a;b;"));
            Checksum first = repository.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"], Metadata = Dictionary(), Sizes = true, Subject = "s", Body = "b" });
            System.IO.File.WriteAllText(scratch["tree/hello"], "other\n");
            Checksum second = repository.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main", "os/other"] });
            repository.SetCollectionRef(new CollectionRef("org.example.Other", "x"), first);
            repository.MakeDelta(new DeltaName(first, second));
            repository.MakeDelta(new DeltaName(null, second), new DeltaOptions { Inline = true });
            repository.WriteSummary();
            var made = new Dictionary<string, byte[][]>
            {
                ["summary"] = [repository.Dir.ReadAll("summary")],
                ["config"] = [repository.Dir.ReadAll("config")],
                ["superblock"] = [repository.Dir.ReadAll(new DeltaName(first, second).Superblock), repository.Dir.ReadAll(new DeltaName(null, second).Superblock)],
                ["part"] = [repository.Dir.ReadAll(new DeltaName(first, second).Part(0))],
                ["filez"] = [.. repository.EnumerateObjects().Where(static name => name.Type == ObjectType.File)
                    .Select(name => repository.Objects.Dir.ReadAll(name.LoosePath(RepositoryMode.Archive))).Where(static bytes => bytes.Length < 4096).Take(8)],
            };
            foreach (ObjectType type in (ObjectType[])[ObjectType.Commit, ObjectType.DirTree, ObjectType.DirMeta])
                made[$"{type}"] = [.. repository.EnumerateObjects().Where(name => name.Type == type).Select(name => repository.LoadMetadata(name)).Where(static bytes => bytes.Length < 65536).Take(8)];
            made["tar"] = [.. Tars(scratch)];
            return made;
        }

        private static IEnumerable<byte[]> Tars(Scratch scratch)
        {
            using (Dir tree = Dir.Open(scratch["tree"]))
                tree.Unlink("big");
            foreach (string format in (string[])["gnu", "pax", "ustar"])
            {
                Judge.OnPath("tar").Run($"--format={format}", "-C", scratch["tree"], "-cf", scratch[format], "hello", "link", "etc/a/setuid", "hardlink");
                yield return System.IO.File.ReadAllBytes(scratch[format]);
            }

            Judge.OnPath("sh").Run("-c", $"cd {scratch["tree"]} && ls hello link | cpio -o -H newc --quiet > {scratch["cpio"]}");
            yield return System.IO.File.ReadAllBytes(scratch["cpio"]);
        }
    }
}
