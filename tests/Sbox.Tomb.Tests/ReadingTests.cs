using Sbox.Codecs;

namespace Sbox.Tomb.Tests;

/// <summary>We read what real restic wrote.</summary>
public sealed class ReadingTests
{
    [Fact]
    public async Task A_repository_that_restic_made_reads_back_file_by_file_and_its_trees_are_written_to_the_same_bytes()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.ResticOn(place.TombPath, "init"); // its key and all
        place.Restic("backup", place["home"]);
        CancellationToken cancel = TestContext.Current.CancellationToken;
        await using TombRepository tomb = await place.Open();
        Snapshot snapshot = Assert.Single(await tomb.Snapshots(cancel));
        await tomb.LoadIndex(cancel);
        Assert.Equal([place["home"]], snapshot.Paths);

        int files = await Compare(tomb, snapshot.Tree, "/", place["home"], cancel);
        Assert.True(files > 5);
    }

    [Fact]
    public async Task Chunks_are_cut_where_restic_cuts_them()
    {
        using var place = new Place();
        Directory.CreateDirectory(place["home"]);
        var bytes = new byte[20_000_000];
        new Random(3).NextBytes(bytes);
        bytes.AsSpan(5_000_000, 9_000_000).Clear(); // zeros are cut at the least size, for their fingerprint is zero
        File.WriteAllBytes(place["home/big"], bytes);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        CancellationToken cancel = TestContext.Current.CancellationToken;
        await using TombRepository tomb = await place.Open();
        await tomb.LoadIndex(cancel);
        for (int at = 0, length; at < bytes.Length; at += length)
        {
            length = tomb.Chunker.Length(bytes.AsSpan(at, Math.Min(bytes.Length - at, Chunking.Chunker.MaximumSize)));
            Assert.True(tomb.Index.Contains(BlobType.Data, Checksum.Of(bytes.AsSpan(at, length))), $"no such chunk at {at}, {length} bytes");
        }
    }

    [Fact]
    public async Task A_wrong_password_is_said_to_be_wrong()
    {
        using var place = new Place();
        place.Restic("init");
        await Assert.ThrowsAsync<WrongPasswordException>(() => TombRepository.Open(place.Backend(), Place.Secret("no"), TestContext.Current.CancellationToken));
    }

    private static async Task<int> Compare(TombRepository tomb, Checksum id, string path, string home, CancellationToken cancel)
    {
        byte[] bytes = await tomb.LoadBlob(BlobType.Tree, id, cancel);
        var tree = Tree.Parse(bytes);
        Assert.Equal(System.Text.Encoding.UTF8.GetString(bytes), System.Text.Encoding.UTF8.GetString(tree.ToBytes()));
        int files = 0;
        foreach (Node node in tree.Nodes)
        {
            string at = path == "/" ? path + node.Name : $"{path}/{node.Name}";
            if (node.Subtree is { } below)
            {
                files += await Compare(tomb, below, at, home, cancel);
            }
            else if (node.Content is { } content)
            {
                using var whole = new MemoryStream();
                foreach (Checksum blob in content)
                    whole.Write(await tomb.LoadBlob(BlobType.Data, blob, cancel));
                Assert.Equal(HomeTree.Bytes(at), whole.ToArray());
                files++;
            }
        }

        return files;
    }
}
