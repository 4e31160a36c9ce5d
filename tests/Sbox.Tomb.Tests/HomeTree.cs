using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Tomb.Tests;

/// <summary>A small home with one of everything that a home can hold.</summary>
internal static class HomeTree
{
    public static void Make(string path, int seed = 1)
    {
        Directory.CreateDirectory(path);
        using Dir home = Dir.Open(path);
        var random = new Random(seed);
        Write(home, "plain", Encoding.UTF8.GetBytes("hello\n"));
        Write(home, "empty", []);
        var big = new byte[3_000_000];
        random.NextBytes(big);
        Write(home, "big", big);
        Write(home, "text", Encoding.UTF8.GetBytes(string.Concat(Enumerable.Range(0, 60_000).Select(n => $"line {n * seed} of the text\n"))));
        foreach (string name in (string[])["ümlaut ☃", "quote\"back\\slash", "<&>", "new\nline\ttab", FileName.FromBytes([0x66, 0xFF, 0xFE, 0x2E]), "\u2028\u0007\u00A0x", "zwj\u200D", "\U0001F600"])
            Write(home, name, FileName.ToBytes(name));
        home.TryLink("plain", home, "hard link");
        home.ReplaceSymlink("../over there", "link");
        home.ReplaceSymlink(FileName.FromBytes([0xC3, 0x28]), "odd link");
        home.MakeDirs("a/b/c");
        home.MakeDirs("hollow");
        using (Dir deep = home.OpenDir("a/b/c"))
        {
            for (int n = 0; n < 40; n++)
                Write(deep, $"file{n}", Encoding.UTF8.GetBytes($"{seed} {n}"));
        }

        using (SafeFileHandle file = home.OpenFile("text"))
            Xattrs.Set(file, new Xattr("user.note", [1, 2, 0, 255]), "text");
        using (SafeFileHandle sparse = home.CreateFile("sparse"))
            Files.WriteAt(sparse, "end"u8, 5_000_000, "sparse");
        home.MakeNode("fifo", 0x1000 | 0x1A4, 0);
        home.MakeNode("null", 0x2000 | 0x1B6, 0x103);
        home.ChangeMode("plain", 0x800 | 0x1ED);
        home.ChangeMode("hollow", 0x200 | 0x1FF);
        home.ChangeOwner("empty", 1234, 4321);
        home.SetTimes("empty", -5, 7);
    }

    public static byte[] Bytes(string path)
    {
        using Dir parent = Dir.Open(Path.GetDirectoryName(path)!);
        return parent.ReadAll(Path.GetFileName(path));
    }

    private static void Write(Dir dir, string name, byte[] bytes)
    {
        using SafeFileHandle file = dir.CreateFile(name);
        Files.WriteAt(file, bytes, 0, name);
    }
}
