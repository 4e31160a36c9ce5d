using System.IO.MemoryMappedFiles;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Tomb.Tests.Mounting;

/// <summary>What fsx and fsstress do to a file system, done to an open home and to a plain directory beside it. SBOX_SEED repeats a run, SBOX_OPS makes it longer.</summary>
public sealed class RandomWorkTests
{
    private static readonly int Seed = int.Parse(Environment.GetEnvironmentVariable("SBOX_SEED") ?? $"{Random.Shared.Next(10_000)}");
    private static readonly int Operations = int.Parse(Environment.GetEnvironmentVariable("SBOX_OPS") ?? "600");

    [Fact]
    public async Task A_file_under_random_reads_writes_truncations_and_mappings_is_what_memory_says_across_saves_and_folds()
    {
        TestContext.Current.TestOutputHelper?.WriteLine($"SBOX_SEED={Seed}");
        using Place place = Started();
        await using OpenTomb open = await OpenTomb.Of(place);
        var random = new Random(Seed);
        string path = Path.Combine(open.Path, "big");
        var model = new Model(File.ReadAllBytes(path));
        for (int n = 1; n <= Operations; n++)
        {
            model.Step(path, random);
            if (n % 90 == 0)
                await open.Save();
            if (n % 200 == 0)
                await open.Session.Fold(TestContext.Current.CancellationToken);
        }

        Assert.True(model.Bytes.AsSpan().SequenceEqual(File.ReadAllBytes(path)), $"SBOX_SEED={Seed}");
        await open.Close();
        place.Restic("check", "--read-data");
        place.Restic("restore", "latest", "--target", place["out"]);
        Assert.True(model.Bytes.AsSpan().SequenceEqual(File.ReadAllBytes(place["out"] + place["home"] + "/big")), $"SBOX_SEED={Seed}");
    }

    [Fact]
    public async Task Random_work_on_names_links_attributes_and_ACLs_ends_as_on_a_plain_directory_and_is_restored_so()
    {
        TestContext.Current.TestOutputHelper?.WriteLine($"SBOX_SEED={Seed}");
        using Place place = Started();
        await using OpenTomb open = await OpenTomb.Of(place);
        Listing.Sh(place.Path, "cp -a home plain");
        var ours = new Worker(open.Path, Seed);
        var theirs = new Worker(place["plain"], Seed);
        for (int n = 1; n <= Operations; n++)
        {
            Assert.Equal(theirs.Step(), ours.Step());
            if (n % 130 == 0)
                await open.Save();
            if (n % 250 == 0)
                await open.Session.Fold(TestContext.Current.CancellationToken);
        }

        Assert.Equal(WithoutTimes(place["plain"]), WithoutTimes(open.Path));
        await open.Close();
        place.Restic("check", "--read-data");
        place.Restic("restore", "latest", "--target", place["out"]);
        Assert.Equal(WithoutTimes(place["plain"]), WithoutTimes(place["out"] + place["home"]));
    }

    private static Place Started()
    {
        var place = new Place();
        HomeTree.Make(place["home"]);
        Listing.Sh(place["home"], "rm -f 'hard link' fifo null *.; find . -name '*[^ -~]*' -delete; for d in x y z; do mkdir -p $d/deep/er; for i in $(seq 12); do echo $d $i > $d/deep/f$i; done; done");
        place.Restic("init");
        place.Restic("backup", place["home"]);
        return place;
    }

    private static string WithoutTimes(string path) => string.Join('\n', Listing.Sh(path, """
        find . -mindepth 1 -type d -printf '%P|%y|%m|%U|%G\n' -o -mindepth 1 -printf '%P|%y|%m|%U|%G|%s|%l\n' 2>/dev/null | sort
        find . -type f -print0 | sort -z | xargs -0r sha256sum
        find . -print0 | sort -z | xargs -0r getfattr -h -d -m '^(user|system)\.' -e hex 2>/dev/null
        """));

    private sealed class Model(byte[] bytes)
    {
        private const int LargestFile = 400_000;

        public byte[] Bytes { get; private set; } = bytes;

        public void Step(string path, Random random)
        {
            int at = random.Next(Math.Max(1, Math.Min(Bytes.Length, LargestFile))), length = random.Next(1, 40_000);
            switch (random.Next(6))
            {
                case 0 or 1:
                    Write(path, at, Filled(random, length));
                    break;
                case 2:
                    int size = random.Next(LargestFile);
                    using (SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite))
                        RandomAccess.SetLength(file, size);
                    byte[] cut = Bytes;
                    Array.Resize(ref cut, size);
                    Bytes = cut;
                    break;
                case 3 when Bytes.Length > at:
                    byte[] mapped = Filled(random, Math.Min(length, Bytes.Length - at));
                    using (MemoryMappedFile map = MemoryMappedFile.CreateFromFile(path, FileMode.Open))
                    using (MemoryMappedViewAccessor view = map.CreateViewAccessor(0, Bytes.Length))
                        view.WriteArray(at, mapped, 0, mapped.Length);
                    mapped.CopyTo(Bytes, at);
                    break;
                default:
                    var read = new byte[Math.Max(0, Math.Min(length, Bytes.Length - at))];
                    using (SafeFileHandle file = File.OpenHandle(path))
                        Assert.Equal(read.Length, RandomAccess.Read(file, read, at));
                    Assert.True(read.AsSpan().SequenceEqual(Bytes.AsSpan(at, read.Length)), $"SBOX_SEED={Seed}: {read.Length} bytes at {at}");
                    break;
            }
        }

        private void Write(string path, int at, byte[] bytes)
        {
            using (SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite))
                RandomAccess.Write(file, bytes, at);
            byte[] longer = Bytes;
            if (at + bytes.Length > longer.Length)
                Array.Resize(ref longer, at + bytes.Length);
            bytes.CopyTo(longer, at);
            Bytes = longer;
        }

        private static byte[] Filled(Random random, int length)
        {
            var bytes = new byte[length];
            random.NextBytes(bytes);
            return bytes;
        }
    }

    // The same steps wherever the same names are.
    private sealed class Worker(string root, int seed)
    {
        // user::rw-, user:1234:r--, group::r--, mask::r--, other::---: as acl(5) lays it out.
        private static readonly byte[] Acl =
            [2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xD2, 4, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255];

        private readonly Random random = new(seed);
        private readonly HashSet<string> linked = [];
        private int made;

        public string Step()
        {
            string[] files = Names(Directory.GetFiles(root, "*", SearchOption.AllDirectories)), directories = Names(Directory.GetDirectories(root, "*", SearchOption.AllDirectories));
            string file = files[random.Next(files.Length)], directory = directories[random.Next(directories.Length)], other = directories[random.Next(directories.Length)], name = $"n{made++}";
            int what = random.Next(11), size = random.Next(30_000);
            switch (what)
            {
                case 0:
                    File.WriteAllBytes(At($"{directory}/{name}"), Bytes(size));
                    break;
                case 1 when !linked.Contains(file) && !IsLink(file):
                    using (FileStream stream = new(At(file), FileMode.Append))
                        stream.Write(Encoding.UTF8.GetBytes(name));
                    break;
                case 2 when !IsLink(file):
                    File.Move(At(file), At($"{other}/{name}"));
                    if (linked.Remove(file))
                        linked.Add($"{other}/{name}");
                    break;
                case 3 when directories.Length > 6 && other != directory && !other.StartsWith(directory + "/", StringComparison.Ordinal):
                    Directory.Move(At(directory), At($"{other}/{name}"));
                    foreach (string moved in linked.Where(each => each.StartsWith(directory + "/", StringComparison.Ordinal)).ToArray())
                    {
                        linked.Remove(moved);
                        linked.Add($"{other}/{name}{moved[directory.Length..]}");
                    }

                    break;
                case 4 when files.Length > 40:
                    File.Delete(At(file));
                    break;
                case 5:
                    Directory.CreateDirectory(At($"{directory}/{name}"));
                    break;
                case 6 when !IsLink(file):
                    Link(file, directory, name); // written to no more: the names of one file part then, which docs/tomb-mount.md says
                    linked.Add(file);
                    linked.Add($"{directory}/{name}");
                    break;
                case 7 when !IsLink(file) && !linked.Contains(file):
                    using (SafeFileHandle handle = File.OpenHandle(At(file), FileMode.Open, FileAccess.ReadWrite))
                        Xattrs.Set(handle, new Xattr("user.n", Encoding.UTF8.GetBytes(name)), file);
                    break;
                case 8 when !IsLink(file) && !linked.Contains(file):
                    using (SafeFileHandle handle = File.OpenHandle(At(file), FileMode.Open, FileAccess.ReadWrite))
                        Xattrs.Set(handle, new Xattr("system.posix_acl_access", Acl), file);
                    break;
                case 9 when directories.Length > 6 && Directory.GetDirectories(At(directory)).Length == 0 && files.Length > 60:
                    Directory.Delete(At(directory), recursive: true);
                    linked.RemoveWhere(each => each.StartsWith(directory + "/", StringComparison.Ordinal));
                    break;
                default:
                    File.CreateSymbolicLink(At($"{directory}/{name}"), "../" + file);
                    break;
            }

            return $"{what} {file} {directory} {other} {name}";
        }

        private void Link(string file, string directory, string name)
        {
            using Dir from = Dir.Open(Path.GetDirectoryName(At(file))!), to = Dir.Open(At(directory));
            Assert.True(from.TryLink(Path.GetFileName(file), to, name));
        }

        private bool IsLink(string file) => new FileInfo(At(file)).LinkTarget is not null;

        private byte[] Bytes(int size)
        {
            var bytes = new byte[size];
            random.NextBytes(bytes);
            return bytes;
        }

        private string At(string path) => $"{root}/{path}";

        private string[] Names(IEnumerable<string> paths) => [.. paths.Select(path => path[(root.Length + 1)..]).Order(StringComparer.Ordinal)];
    }
}
