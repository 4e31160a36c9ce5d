using System.Text.RegularExpressions;

namespace Sbox.Architecture.Tests;

public sealed partial class RoomTests
{
    // docs/architecture.md has this table with its reasons. An arrow that is missing here may not be drawn in a project.
    private static readonly Dictionary<string, string[]> Arrows = new()
    {
        ["Sbox.Buckets"] = [],
        ["Sbox.Codecs"] = [],
        ["Sbox.Linux"] = [],
        ["Sbox.Boot"] = ["Sbox.Codecs", "Sbox.Linux"],
        ["Sbox.Store"] = ["Sbox.Codecs", "Sbox.Linux"],
        ["Sbox.Tomb"] = ["Sbox.Buckets", "Sbox.Codecs", "Sbox.Linux"],
        ["Sbox.Integrity"] = ["Sbox.Store", "Sbox.Sysroot"],
        ["Sbox.Sysroot"] = ["Sbox.Store", "Sbox.Boot"],
        ["Sbox.Image"] = ["Sbox.Sysroot", "Sbox.Store"],
        ["Sbox.Delivery"] = ["Sbox.Buckets", "Sbox.Store"],
        ["Sbox.Initramfs"] = ["Sbox.Boot"],
        ["Sbox.Cli"] = ["Sbox.Delivery", "Sbox.Image", "Sbox.Integrity", "Sbox.Sysroot", "Sbox.Store", "Sbox.Tomb"],
    };

    [Fact]
    public void Every_room_has_its_arrows_written_down() =>
        Assert.Equal(Arrows.Keys.Order(StringComparer.Ordinal), Source.Rooms);

    [Fact]
    public void No_project_draws_an_arrow_that_is_not_in_the_table()
    {
        foreach (string room in Source.Rooms)
        {
            string[] drawn = [.. ProjectReference().Matches(Source.Project(room)).Select(static match => match.Groups[1].Value)];
            Assert.True(drawn.All(Arrows[room].Contains), $"{room} -> {string.Join(", ", drawn.Except(Arrows[room]))}");
        }
    }

    [Fact]
    public void Only_the_kernels_room_compiles_unsafe_code_or_native_calls() => Nowhere(
        Unsafe(), room => room != "Sbox.Linux", "native calls and unsafe code belong to src/Sbox.Linux");

    [Fact]
    public void Libraries_never_speak_to_people() => Nowhere(
        Speaking(), room => room is not ("Sbox.Cli" or "Sbox.Initramfs"), "only programs speak: a library returns, throws or reports");

    [Fact]
    public void No_exception_is_swallowed_without_a_word() => Nowhere(Swallowing(), _ => true, "an empty catch hides a failure");

    [Fact]
    public void Codecs_and_boot_reference_nothing_that_reads_files_or_loads_libssl_in_an_initrd()
    {
        string[] boot = [.. typeof(Sbox.Boot.KernelArguments).Assembly.GetReferencedAssemblies().Select(static name => name.Name!)];
        Assert.DoesNotContain(boot, static name => name.StartsWith("System.Security.Cryptography", StringComparison.Ordinal) || name.StartsWith("System.Net", StringComparison.Ordinal));
    }

    [Fact]
    public void Every_program_that_lands_on_a_box_is_native()
    {
        foreach (string program in (string[])["Sbox.Cli", "Sbox.Initramfs"])
            Assert.Contains("<PublishAot>true</PublishAot>", Source.Project(program), StringComparison.Ordinal);
    }

    private static void Nowhere(Regex forbidden, Func<string, bool> rooms, string why)
    {
        string[] found = [.. Source.Rooms.Where(rooms)
            .SelectMany(Source.Files)
            .SelectMany(file => file.Text.Split('\n').Select((line, at) => (file.Path, Line: line, Number: at + 1)))
            .Where(each => forbidden.IsMatch(each.Line) && !each.Line.TrimStart().StartsWith("//", StringComparison.Ordinal))
            .Select(static each => $"{each.Path}:{each.Number}: {each.Line.Trim()}")];
        Assert.True(found.Length == 0, $"{why}:\n{string.Join('\n', found)}");
    }

    [GeneratedRegex("ProjectReference Include=\"\\.\\./([A-Za-z.]+)/")]
    private static partial Regex ProjectReference();

    [GeneratedRegex(@"(?<!-)\bunsafe\b(?!-)|\bLibraryImport\b|\bDllImport\b")]
    private static partial Regex Unsafe();

    [GeneratedRegex(@"\bConsole\.(Out|Error|Write|In\b|Read)")]
    private static partial Regex Speaking();

    [GeneratedRegex(@"catch\s*(\([^)]*\))?\s*\{\s*\}")]
    private static partial Regex Swallowing();
}
