using Sbox.Judges;

namespace Sbox.Store.Tests;

/// <summary>The one stream that compressed and stored pieces of a file make together in an archive.</summary>
public sealed class ArchiveDeflaterTests
{
    private const int MiB = 1 << 20;
    private static readonly int[] Lengths = [1, 4095, 4096, 4097, 65535, 65536, 65537, MiB, MiB + 1];

    [Fact]
    public void Any_sequence_of_noise_and_text_is_whole_to_ostree_and_never_much_longer()
    {
        using var scratch = new Scratch();
        var random = new Random(7);
        var files = new Dictionary<string, byte[]>();
        for (int round = 0; round < 40; round++)
        {
            files[$"{round}"] = [.. Enumerable.Range(0, random.Next(1, 5)).SelectMany(_ => random.Next(2) == 0
                ? Noise(random, Lengths[random.Next(Lengths.Length)])
                : Text(random, Lengths[random.Next(Lengths.Length)]))];
        }

        foreach ((string name, long stored) in Stored(scratch, files))
            Assert.True(stored <= files[name].Length + (files[name].Length / 1000) + 512, $"{files[name].Length} became {stored}");
    }

    [Fact]
    public void Noise_is_stored_and_what_only_looks_like_it_is_compressed()
    {
        using var scratch = new Scratch();
        var random = new Random(8);
        byte[] block = Noise(random, 4096);
        byte[] bundle = Text(random, MiB);
        foreach (int at in new[] { 0, (MiB / 2) - 2048, MiB - 4096 })
            block.CopyTo(bundle, at);
        Dictionary<string, long> stored = Stored(scratch, new Dictionary<string, byte[]>
        {
            ["copies"] = [.. Enumerable.Repeat(block, 256).SelectMany(static each => each)],
            ["table"] = [.. Enumerable.Range(0, MiB).Select(static each => (byte)each)],
            ["bundle"] = bundle,
            ["noise"] = Noise(random, MiB),
        });
        foreach (string name in new[] { "copies", "table", "bundle" })
            Assert.InRange(stored[name], 1, MiB / 2);
        Assert.InRange(stored["noise"], MiB, MiB + 512);
    }

    private static Dictionary<string, long> Stored(Scratch scratch, Dictionary<string, byte[]> files)
    {
        System.IO.Directory.CreateDirectory(scratch["in"]);
        foreach ((string name, byte[] bytes) in files)
            System.IO.File.WriteAllBytes(scratch[$"in/{name}"], bytes);
        using Repository repository = Repository.Create(scratch["repo"], RepositoryMode.Archive);
        Codecs.Checksum commit = repository.CommitDirectory(scratch["in"], new CommitOptions { Branches = ["main"] });
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={repository.Path}"));
        return files.Keys.ToDictionary(static name => name, name => new FileInfo(
            $"{repository.Path}/objects/{new ObjectName(repository.Find(commit, $"/{name}").Content!.Value, ObjectType.File).LoosePath(RepositoryMode.Archive)}").Length);
    }

    private static byte[] Noise(Random random, int length)
    {
        var bytes = new byte[length];
        random.NextBytes(bytes);
        return bytes;
    }

    private static byte[] Text(Random random, int length)
    {
        byte[][] words = [.. "the store keeps every tree that it was given and gives each of them back "u8.ToArray().Chunk(5)];
        var bytes = new List<byte>(length + 8);
        while (bytes.Count < length)
            bytes.AddRange(words[random.Next(words.Length)]);
        return [.. bytes.Take(length)];
    }
}
