using System.Text;

namespace Sbox.Bench;

/// <summary>Makes a home of a size that is told: text, pictures, logs, mail, in the mix of a real one; the same bytes from the same seed.</summary>
internal static class HomeMaker
{
    private const double Files = 19_000;

    /// <summary>Makes it. At scale 1 it has 19,000 files and 600 MB.</summary>
    public static void Make(string path, double scale)
    {
        var random = new Random(42);
        string[] words = [.. Enumerable.Range(0, 4000).Select(_ => Word(random))];
        for (int n = 0; n < Files * 0.79 * scale; n++)
            Write(path, $"src/project{n / 600}/dir{n / 40}/file{n}.c", Text(random, words, random.Next(200, 8000)));
        for (int n = 0; n < Files * 0.18 * scale; n++)
            Write(path, $"mail/{n / 200}/{n}", n % 2 == 0 ? Text(random, words, random.Next(5_000, 70_000)) : Noise(random, random.Next(5_000, 70_000)));
        for (int n = 0; n < Files * 0.02 * scale; n++)
            Write(path, $"pictures/{n / 50}/{n}.jpg", Noise(random, random.Next(300_000, 1_300_000)));
        for (int n = 0; n < Files * 0.001 * scale; n++)
            Write(path, $"var/log{n}", Text(random, words, random.Next(2_000_000, 9_000_000)));
    }

    /// <summary>Kinds of content by themselves, so that none hides behind another; at scale 1 some 100 MB each.</summary>
    public static IReadOnlyList<string> Kinds { get; } = ["text", "random", "tiny files", "one large file", "media", "zeros"];

    /// <summary>Makes a directory of one kind.</summary>
    public static void MakeKind(string path, string kind, double scale)
    {
        var random = new Random(7);
        string[] words = [.. Enumerable.Range(0, 4000).Select(_ => Word(random))];
        (int count, Func<int, byte[]> make) = kind switch
        {
            "text" => (2000, _ => Text(random, words, random.Next(20_000, 80_000))),
            "random" => (100, _ => Noise(random, 1_000_000)),
            "tiny files" => (20_000, number => Encoding.ASCII.GetBytes($"{number} {words[number % words.Length]}")),
            "one large file" => (1, _ => Noise(random, (int)(100_000_000 * scale))),
            "media" => (150, (Func<int, byte[]>)(number => number % 3 == 0 ? Noise(random, random.Next(50_000, 200_000)) : Noise(random, random.Next(300_000, 1_500_000)))),
            _ => (10, _ => new byte[10_000_000]),
        };
        for (int number = 0; number < Math.Max(1, count * scale); number++)
            Write(path, $"{number / 200}/{number}", make(number));
    }

    /// <summary>Changes one file in a hundred and adds a few.</summary>
    public static void Change(string path, int round)
    {
        string[] files = [.. Directory.EnumerateFiles(path, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];
        for (int n = round; n < files.Length; n += 100)
            File.AppendAllText(files[n], $"changed in round {round}\n");
        for (int n = 0; n < 20; n++)
            Write(path, $"new/{round}/{n}", Encoding.UTF8.GetBytes($"new in round {round}, {n}"));
    }

    private static void Write(string top, string name, byte[] bytes)
    {
        string path = Path.Combine(top, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, bytes);
    }

    private static byte[] Noise(Random random, int length)
    {
        var bytes = new byte[length];
        random.NextBytes(bytes);
        return bytes;
    }

    private static byte[] Text(Random random, string[] words, int length)
    {
        var text = new StringBuilder(length + 20);
        while (text.Length < length)
        {
            double often = random.NextDouble();
            text.Append(words[(int)(often * often * often * words.Length)]).Append(random.Next(9) == 0 ? '\n' : ' ');
        }

        return Encoding.ASCII.GetBytes(text.ToString(0, length));
    }

    private static string Word(Random random) => string.Concat(Enumerable.Range(0, random.Next(2, 11)).Select(_ => (char)('a' + random.Next(26))));
}
