using System.Text;
using Sbox.Linux;

namespace Sbox.Cli;

/// <summary>
/// The command line as the kernel has it. What is no UTF-8 reaches a program of .NET's as U+FFFD, and the file of such a name could not be asked for; here it is as <see cref="FileName"/> has it.
/// </summary>
internal static class TypedArguments
{
    private const string Kernel = "/proc/self/cmdline";

    /// <summary>The same words, with the bytes of those that are no UTF-8.</summary>
    public static string[] Of(string[] args)
    {
        if (!args.Any(static each => each.Contains('\uFFFD', StringComparison.Ordinal)) || !File.Exists(Kernel))
            return args;
        string[] words = FileName.FromBytes(File.ReadAllBytes(Kernel)).Split('\0')[..^1];
        string[] last = words.Length < args.Length ? [] : words[^args.Length..]; // before them: the program, and what runs it
        return last.Select(static each => Shape(Encoding.UTF8.GetString(FileName.ToBytes(each)))).SequenceEqual(args.Select(Shape), StringComparer.Ordinal) ? last : args;
    }

    // How many U+FFFD stand for some bytes is the decoder's own choice.
    private static string Shape(string word) => string.Join('\uFFFD', word.Split('\uFFFD', StringSplitOptions.RemoveEmptyEntries));
}
