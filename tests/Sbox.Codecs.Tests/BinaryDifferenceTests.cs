namespace Sbox.Codecs.Tests;

public sealed class BinaryDifferenceTests
{
    [Fact]
    public void All_suffixes_of_anything_are_sorted()
    {
        var random = new Random(1);
        var sorter = new SuffixArray();
        for (int round = 0; round < 2000; round++)
        {
            var text = new byte[random.Next(0, 200)];
            int symbols = random.Next(1, 5);
            for (int i = 0; i < text.Length; i++)
                text[i] = (byte)(round % 7 == 0 ? random.Next(256) : random.Next(symbols));
            var suffixes = new int[text.Length];
            sorter.Sort(text, text.Length, suffixes);
            Assert.Equal(text.Length, suffixes.Distinct().Count());
            for (int i = 1; i < suffixes.Length; i++)
                Assert.True(text.AsSpan(suffixes[i - 1]).SequenceCompareTo(text.AsSpan(suffixes[i])) < 0);
        }
    }

    [Fact]
    public void Whatever_was_made_into_differences_comes_back()
    {
        var random = new Random(2);
        var differ = new BinaryDiff();
        for (int round = 0; round < 500; round++)
        {
            byte[] old = Text(random, random.Next(0, 3000)), fresh = Changed(random, old);
            Assert.Equal(fresh, Patched(old, Differences(differ, old, fresh)));
        }
    }

    [Fact]
    public void A_patch_of_many_small_steps_reads_the_old_version_by_the_block()
    {
        byte[] old = Text(new Random(7), 300_000), fresh = [.. old];
        var steps = new MemoryStream();
        for (int at = 0; at < old.Length; at += 10)
        {
            byte[] step = new byte[24 + 10];
            BinaryPatch.WriteNumber(step, 10);
            steps.Write(step);
        }

        int calls = 0;
        using var patch = new BinaryPatch(new MemoryStream(steps.ToArray()), (into, offset) =>
        {
            calls++;
            return At(old)(into, offset);
        }, old.Length, fresh.Length);
        var made = new MemoryStream();
        patch.CopyTo(made);
        Assert.Equal(fresh, made.ToArray());
        Assert.InRange(calls, 1, 20);
    }

    [Fact]
    public void Files_beyond_the_window_are_compared_piece_by_piece()
    {
        var random = new Random(3);
        var old = new byte[BinaryDiff.Window + 1_300_000];
        random.NextBytes(old);
        byte[] fresh = [.. old.AsSpan(0, 900_000), 1, 2, 3, .. old.AsSpan(900_100)];
        fresh[3_000_000] ^= 1;
        byte[] patch = Differences(new BinaryDiff(), old, fresh);
        Assert.Equal(fresh, Patched(old, patch));
        // As large as the file, since differences are bytes too; but nearly all of them zeros.
        Assert.True(patch.Count(static each => each != 0) < 2000, $"{patch.Count(static each => each != 0)} bytes that are no zeros");
    }

    [Fact]
    public void An_inserted_byte_costs_a_step_and_not_the_rest_of_the_file()
    {
        var old = new byte[100_000];
        new Random(4).NextBytes(old);
        byte[] fresh = [.. old.AsSpan(0, 40_000), 77, .. old.AsSpan(40_000)];
        byte[] patch = Differences(new BinaryDiff(), old, fresh);
        Assert.True(patch.Count(static each => each != 0) < 40);
    }

    [Fact]
    public void Changed_patches_give_typed_errors()
    {
        var random = new Random(5);
        byte[] old = Text(random, 5000), fresh = Changed(random, old), good = Differences(new BinaryDiff(), old, fresh);
        for (int round = 0; round < 5000; round++)
        {
            byte[] bad = round % 20 == 0 ? good[..random.Next(good.Length)] : (byte[])good.Clone();
            if (bad.Length > 0)
                bad[random.Next(Math.Min(bad.Length, round % 2 == 0 ? 48 : bad.Length))] = (byte)random.Next(256);
            try
            {
                using var patch = new BinaryPatch(new MemoryStream(bad), At(old), old.Length, fresh.Length);
                var made = new MemoryStream();
                patch.CopyTo(made);
                Assert.Equal(fresh.Length, made.Length);
            }
            catch (MalformedException malformed)
            {
                Assert.Equal("binary difference", malformed.Format);
            }
        }
    }

    private static byte[] Differences(BinaryDiff differ, byte[] old, byte[] fresh)
    {
        var patch = new MemoryStream();
        Assert.Equal(differ.Write(At(old), old.Length, At(fresh), fresh.Length, patch), patch.Length);
        return patch.ToArray();
    }

    private static byte[] Patched(byte[] old, byte[] patch)
    {
        using var made = new BinaryPatch(new MemoryStream(patch), At(old), old.Length, FreshSize(patch));
        var result = new MemoryStream();
        made.CopyTo(result);
        return result.ToArray();

        // Differences and new bytes are as many as the new version; the rest is numbers.
        static long FreshSize(byte[] steps)
        {
            long size = 0;
            for (int at = 0; at < steps.Length;)
            {
                long made = BinaryPatch.ReadNumber(steps.AsSpan(at)) + BinaryPatch.ReadNumber(steps.AsSpan(at + 8));
                size += made;
                at += 24 + (int)made;
            }

            return size;
        }
    }

    private static ReadAt At(byte[] bytes) => (into, offset) =>
    {
        int count = (int)Math.Clamp(bytes.Length - offset, 0, into.Length);
        bytes.AsSpan((int)Math.Min(offset, bytes.Length), count).CopyTo(into);
        return count;
    };

    private static byte[] Text(Random random, int size)
    {
        var text = new byte[size];
        for (int i = 0; i < size; i++)
            text[i] = i > 20 && random.Next(3) > 0 ? text[i - random.Next(1, 20)] : (byte)random.Next(256);
        return text;
    }

    private static byte[] Changed(Random random, byte[] old)
    {
        var fresh = new List<byte>(old);
        for (int change = random.Next(0, 10); change > 0; change--)
        {
            int at = random.Next(fresh.Count + 1);
            if (random.Next(2) == 0)
                fresh.InsertRange(at, Text(random, random.Next(1, 50)));
            else
                fresh.RemoveRange(at, Math.Min(random.Next(100), fresh.Count - at));
        }

        return [.. fresh];
    }
}
