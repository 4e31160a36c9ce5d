using SharpFuzz;

namespace Sbox.Store.Fuzz;

/// <summary>What AFL++ starts: one parser, fed until it is killed. With a file as second word, that file alone.</summary>
internal static class Program
{
    private static int Main(string[] arguments)
    {
        if (arguments is not [var target, ..] || !Targets.Names.Contains(target))
        {
            Console.Error.WriteLine($"Sbox.Store.Fuzz TARGET [FILE], where TARGET is one of {string.Join(' ', Targets.Names)}");
            return 2;
        }

        if (arguments is [_, var file])
            Console.Out.WriteLine(Targets.Read(target, File.ReadAllBytes(file)) ? "read" : "refused");
        else
            Fuzzer.OutOfProcess.Run(input => Targets.Read(target, All(input)));
        return 0;
    }

    private static byte[] All(Stream input)
    {
        var bytes = new MemoryStream();
        input.CopyTo(bytes);
        return bytes.ToArray();
    }
}
