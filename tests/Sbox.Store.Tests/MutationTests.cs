using System.Text;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;
using Sbox.Store.Fuzz;

namespace Sbox.Store.Tests;

/// <summary>
/// Every parser of the store, fed with true bytes that were damaged at random: errors of theirs are fine; crashes, hangs and memory beyond
/// bounds are not. True inputs, those that were a defect once, and whatever AFL++ keeps (eng/fuzz; not run yet) lie in tests/corpus/store and are
/// replayed. More are made on the way from true ones, by a mutator that knows where offsets and lengths are written: SBOX_FUZZ=N makes N of
/// them for each parser; SBOX_SEED=S repeats a run.
/// </summary>
public sealed class MutationTests(ITestOutputHelper output)
{
    private const int Unasked = 3000;
    private const long MemoryBound = 256L << 20;
    private static readonly string Corpus = SourceTree.Of("tests", "corpus", "store");

    private static readonly Dictionary<string, Func<IEnumerable<byte[]>>> SeedsOf = new()
    {
        ["commit"] = static () => Seeds.Metadata(ObjectType.Commit),
        ["dirtree"] = static () => Seeds.Metadata(ObjectType.DirTree),
        ["dirmeta"] = static () => Seeds.Metadata(ObjectType.DirMeta),
        ["detached"] = static () => [Seeds.Dictionary().ToBytes()],
        ["summary"] = static () => [Seeds.File("summary")],
        ["superblock"] = static () => Seeds.Superblocks(),
        ["inline-superblock"] = static () => Seeds.Superblocks(),
        ["delta-part"] = static () => Seeds.Parts(),
        ["file-header"] = static () => Seeds.Headers(),
        ["filez"] = static () => Seeds.Archived(),
        ["keyfile"] = static () => [Seeds.File("config"), "[remote \"a\"]\nurl=x\\sy\nbranches=a;b\\;c;\n# c\n"u8.ToArray()],
        ["tar"] = static () => Seeds.Tars(),
        ["cookies"] = static () => [".example.org\tTRUE\t/x\tFALSE\t2584559470\tbaz\tbadger\n"u8.ToArray()],
        ["metalink"] = static () => [Seeds.Metalink()],
        ["variant"] = static () => [[.. "\x03"u8, .. Seeds.Dictionary().ToBytes()]],
        ["binary-difference"] = static () => [Seeds.Difference()],
        ["variant-text"] = static () => ["{'a': <uint32 7>, 'b': <[(1, 'x'), (2, \"y\")]>, 'c': <@a{sv} {}>}"u8.ToArray(), "[byte 0x01, 0xff]"u8.ToArray()],
    };

    public static TheoryData<string> Names => [.. Targets.Names];

    [Theory, MemberData(nameof(Names))]
    public void What_was_found_once_is_read_or_refused_in_order_for_ever(string name)
    {
        string[] files = Directory.GetFiles(Path.Combine(Corpus, name));
        Assert.NotEmpty(files);
        foreach (string file in files)
            Feed(name, File.ReadAllBytes(file), file);
    }

    [Theory, MemberData(nameof(Names))]
    public void What_is_whole_is_read(string name) =>
        Assert.All(SeedsOf[name](), seed => Assert.True(Targets.Read(name, seed), Convert.ToBase64String(seed))); // else the rest would prove nothing

    [Fact(Explicit = true)] // tests/corpus/store begins with these; eng/fuzz goes on from there
    public void True_bytes_are_written_for_the_fuzzer()
    {
        foreach (string name in Targets.Names)
        {
            Directory.CreateDirectory(Path.Combine(Corpus, name));
            int number = 0;
            foreach (byte[] seed in SeedsOf[name]())
                File.WriteAllBytes(Path.Combine(Corpus, name, $"true-{++number}"), seed);
        }
    }

    [Theory, MemberData(nameof(Names))]
    public void Damaged_bytes_give_an_error_of_ours_or_none_in_bounded_memory(string name)
    {
        int seed = int.TryParse(Environment.GetEnvironmentVariable("SBOX_SEED"), out int given) ? given : Random.Shared.Next();
        int count = int.TryParse(Environment.GetEnvironmentVariable("SBOX_FUZZ"), out int asked) ? asked : Unasked;
        var mutator = new Mutator(seed, [.. SeedsOf[name]()]);
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
            read = Targets.Read(name, bytes);
        }
        catch (Exception defect)
        {
            Assert.Fail($"{name}: {what}: {defect.GetType().Name}: {defect.Message}\nkeep it: echo {Convert.ToBase64String(bytes)} | base64 -d > tests/corpus/store/{name}/NAME\n{defect.StackTrace}");
        }

        long used = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(used < MemoryBound, $"{name}: {what}: {bytes.Length} bytes took {used} bytes of memory\n{Convert.ToBase64String(bytes.Length < 4096 ? bytes : [])}");
        return read;
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

        // 100 bytes that differ and 56 that are new, 10 of the old version passed over, then 100 more that differ.
        public static byte[] Difference() => [.. Step(100, 56, 10), .. new byte[156], .. Step(100, 0, 0), .. new byte[100]];

        public static byte[] Metalink() => Encoding.UTF8.GetBytes($"""
            <?xml version="1.0" encoding="utf-8"?>
            <metalink version="3.0" xmlns="http://www.metalinker.org/"><files><file name="summary"><size>3</size>
            <verification><hash type="sha256">{new string('a', 64)}</hash><hash type="sha512">{new string('b', 128)}</hash></verification>
            <resources><url protocol="http" preference="9">http://a/summary</url><url protocol="https">https://b/summary</url></resources></file></files></metalink>
            """);

        private static byte[] Step(params long[] numbers) => [.. numbers.SelectMany(BitConverter.GetBytes)];

        private static Dictionary<string, byte[][]> Make()
        {
            using var scratch = new Scratch();
            using Repository repository = Repository.Create(scratch["repo"], RepositoryMode.Archive, "org.example.Own");
            repository.WriteConfig(repository.Config.With("remote \"o\"", "url", "http://x/").With("remote \"o\"", "branches", "a;b;"));
            scratch.Tree();
            foreach (string large in (string[])["big", "exactly-one-buffer"])
                System.IO.File.Delete(scratch[$"tree/{large}"]); // millions of bytes that no parser looks at
            Checksum first = repository.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"], Metadata = Dictionary(), Sizes = true, Subject = "s", Body = "b" });
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
