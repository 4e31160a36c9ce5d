using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb.Tests;

/// <summary>Bytes that nobody vouches for give typed errors, and a hostile place changes nothing unseen.</summary>
public sealed class HostileTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public void Any_garbling_of_any_document_is_a_typed_error_or_reads_as_something()
    {
        var id = Checksum.Of("x"u8);
        var node = new Node { Name = "a", Type = NodeType.File, Modified = new Moment(1, 2), Content = [id], Xattrs = [new Xattr("user.a", [1])], Size = 5 };
        var blob = new PackEntry(BlobType.Data, id, 0, 40, 9);
        (byte[] Bytes, Action<byte[]> Parse)[] documents =
        [
            (new Tree([node]).ToBytes(), static bytes => Tree.Parse(bytes)),
            (new Snapshot { Time = new Moment(1, 2, 60), Tree = id, Paths = ["/x"], Tags = ["t"] }.ToBytes(), bytes => Snapshot.Parse(bytes, id)),
            (IndexFile.Write([new IndexedPack(id, [blob])]), static bytes => IndexFile.Parse(bytes, static (_, _) => { })),
            (PackHeader.Write([blob, blob with { UncompressedLength = 0 }]), static bytes => PackHeader.Parse(bytes, 1000)),
            (new LockRecord { Time = new Moment(1, 2), Exclusive = true, Hostname = "h", Username = "u", Pid = 1 }.ToBytes(), static bytes => LockRecord.Parse(bytes)),
            (new RepositoryConfig(2, id, 0x32420da05d6ec1).ToBytes(), static bytes => RepositoryConfig.Parse(bytes)),
            ("""{"created":"2026-11-25T17:49:05.766866115Z","username":"root","hostname":"vm","kdf":"scrypt","N":32768,"r":8,"p":2,"salt":"UWAa","data":"Gj1x"}"""u8.ToArray(), bytes => KeyRecord.Parse(bytes, id)),
        ];
        var random = new Random(11);
        foreach ((byte[] bytes, Action<byte[]> parse) in documents)
        {
            parse(bytes);
            for (int n = 0; n < 10_000; n++)
            {
                byte[] garbled = [.. bytes[..random.Next(bytes.Length + 1)], .. n % 4 == 0 ? bytes[random.Next(bytes.Length)..] : []];
                for (int change = random.Next(4); change > 0 && garbled.Length > 0; change--)
                    garbled[random.Next(garbled.Length)] = n % 2 == 0 ? (byte)random.Next(256) : bytes[random.Next(bytes.Length)];
                try
                {
                    parse(garbled);
                }
                catch (MalformedException)
                {
                    continue;
                }
            }
        }
    }

    [Theory, InlineData("../evil"), InlineData(".."), InlineData("."), InlineData(""), InlineData("a/b"), InlineData("a\\x00b"), InlineData("a\\x2fb")]
    public void Names_that_lead_out_of_their_directory_are_refused(string name) => Assert.Throws<MalformedException>(() => Tree.Parse(System.Text.Encoding.UTF8.GetBytes(
        $$"""{"nodes":[{"name":"{{name.Replace("\\", "\\\\", StringComparison.Ordinal)}}","type":"file","mtime":"2026-01-01T00:00:00Z","atime":"2026-01-01T00:00:00Z","ctime":"2026-01-01T00:00:00Z","uid":0,"gid":0,"content":[]}]}""")));

    [Fact]
    public void A_name_that_comes_twice_is_refused_so_that_a_link_cannot_stand_in_for_a_directory()
    {
        var node = new Node { Name = "a", Type = NodeType.Symlink, LinkTarget = "/etc" };
        Assert.Throws<MalformedException>(() => Tree.Parse(new Tree([node, node]).ToBytes()));
    }

    [Fact]
    public async Task Files_of_the_tomb_that_change_places_are_noticed()
    {
        using var place = new Place();
        Directory.CreateDirectory(place["home"]);
        File.WriteAllText(place["home/a"], "one");
        await using TombRepository tomb = await Place.Create(place.Backend());
        await Saving.Save(tomb, place["home"]);
        File.WriteAllText(place["home/a"], "two, and longer");
        await Saving.Save(tomb, place["home"]);
        foreach (string kind in (string[])["snapshots", "index", "keys"])
        {
            string[] files = Directory.GetFiles(place[$"tomb/{kind}"]);
            byte[] own = File.ReadAllBytes(files[0]);
            byte[] other = files.Length > 1 ? File.ReadAllBytes(files[1]) : [.. own, (byte)' '];
            File.Delete(files[0]);
            File.WriteAllBytes(files[0], other);
            await Assert.ThrowsAsync<TombDamagedException>(() => kind switch
            {
                "snapshots" => tomb.Snapshots(Cancel),
                "index" => tomb.LoadIndex(Cancel),
                _ => place.Open(),
            });
            File.WriteAllBytes(files[0], own);
        }
    }

    [Fact]
    public void Any_name_and_moment_come_back_as_they_were()
    {
        var random = new Random(3);
        for (int n = 0; n < 20_000; n++)
        {
            var bytes = new byte[random.Next(1, 12)];
            random.NextBytes(bytes);
            for (int at = 0; at < bytes.Length; at++)
                bytes[at] = bytes[at] is 0 or (byte)'/' ? (byte)'_' : n % 2 == 0 ? (byte)(bytes[at] % 96 + 32) is var plain && plain == '/' ? (byte)'.' : plain : bytes[at];
            if (bytes is [(byte)'.'] or [(byte)'.', (byte)'.'])
                continue;
            var node = new Node
            {
                Name = FileName.FromBytes(bytes), Type = NodeType.Symlink, LinkTarget = FileName.FromBytes(bytes),
                Modified = new Moment(random.NextInt64(-60_000_000_000, 250_000_000_000), (uint)random.Next(1_000_000_000), (short)random.Next(-700, 700)),
            };
            Node back = Assert.Single(Tree.Parse(new Tree([node]).ToBytes()).Nodes);
            Assert.Equal(FileName.ToBytes(node.Name), FileName.ToBytes(back.Name));
            Assert.Equal(bytes, FileName.ToBytes(back.LinkTarget));
            Assert.Equal(node.Modified, back.Modified);
        }
    }
}
