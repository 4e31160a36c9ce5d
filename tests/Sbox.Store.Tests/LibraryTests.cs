using System.Text.RegularExpressions;
using Sbox.Judges;

namespace Sbox.Store.Tests;

/// <summary>The library as others meet it: a package in a folder, and the page that tells how it is used.</summary>
public sealed partial class LibraryTests
{
    private static readonly string Page = SourceTree.Of("docs", "store-library.md");

    private const string Main = """
        string place = args[0];
        Sbox.Codecs.Checksum first = Keeping.Keep($"{place}/repo", $"{place}/tree", "home/me");
        File.WriteAllText($"{place}/tree/new", "new\n");
        Sbox.Codecs.Checksum second = Keeping.Keep($"{place}/repo", $"{place}/tree", "home/me");
        Keeping.GetBack($"{place}/repo", "home/me", place, "back");
        Console.WriteLine(Looking.Read($"{place}/repo", "home/me", "/link").TrimEnd());
        foreach (string line in Looking.History($"{place}/repo", "home/me"))
            Console.WriteLine(line);
        string key = Publishing.Publish($"{place}/repo", "home/me", $"{place}/published");
        Console.WriteLine(await Publishing.Take($"{place}/taken", $"file://{place}/published", key, "home/me") == second && first != second ? "taken" : "lost");
        string other = Publishing.Publish($"{place}/repo", "home/me", $"{place}/other");
        try
        {
            await Publishing.Take($"{place}/refused", $"file://{place}/published", other, "home/me");
        }
        catch (Sbox.Store.SignatureException refused)
        {
            Console.WriteLine($"refused: {refused.Message}");
        }
        """;

    [Fact, Trait("Category", "Slow")]
    public void A_small_project_elsewhere_restores_the_package_from_a_folder_and_the_pages_examples_do_what_they_say()
    {
        using var scratch = new Scratch();
        foreach (string project in (string[])["Sbox.Codecs", "Sbox.Linux", "Sbox.Store"])
            Dotnet(scratch, "pack", SourceTree.Of("src", project), "--configuration", "Release", "--no-build", "--nologo", "--output", scratch["packages"]);
        Assert.True(File.Exists(scratch["packages/Sbox.Store.0.1.0.nupkg"]));

        MakeProject(scratch);
        Dotnet(scratch, "build", scratch["app"], "--configuration", "Release", "--nologo", "--output", scratch["out"]);
        Directory.CreateDirectory(scratch["tree"]);
        File.WriteAllText(scratch["tree/hello"], "hello\n");
        File.CreateSymbolicLink(scratch["tree/link"], "hello");
        string[] said = Judge.OnPath(scratch["out/app"]).Run(scratch.Root).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal("hello", said[0]);
        Assert.Contains(": 1 added, 0 modified, 0 removed", said[1]);
        Assert.Equal("taken", said[3]);
        Assert.StartsWith("refused: ", said[4]);
        Assert.Equal("new\n", File.ReadAllText(scratch["back/new"]));
        foreach (string repository in (string[])["repo", "published", "taken"])
            Judge.Ostree.Run("fsck", $"--repo={scratch[repository]}");
    }

    [Fact]
    public void The_page_has_three_examples_and_names_only_what_is_there()
    {
        string page = File.ReadAllText(Page);
        Assert.Equal(3, Examples().Count);
        string[] members = [.. typeof(Repository).GetMembers().Select(static member => member.Name), nameof(Repository)];
        foreach (Match row in TableCall().Matches(page))
            Assert.Contains(row.Groups[1].Value.Split('.')[^1], members);
    }

    // The package's own folder is first and alone for what is ours; what it depends on is on this machine since it was built.
    private static void MakeProject(Scratch scratch)
    {
        Directory.CreateDirectory(scratch["app"]);
        string kept = Environment.GetEnvironmentVariable("NUGET_PACKAGES") ?? $"{Environment.GetFolderPath(Environment.SpecialFolder.UserProfile)}/.nuget/packages";
        File.WriteAllText(scratch["app/NuGet.config"], $"""
            <configuration>
              <packageSources><clear /><add key="folder" value="{scratch["packages"]}" /></packageSources>
              <fallbackPackageFolders><clear /><add key="kept" value="{kept}" /></fallbackPackageFolders>
            </configuration>
            """);
        File.WriteAllText(scratch["app/app.csproj"], $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <Nullable>enable</Nullable>
                <ImplicitUsings>enable</ImplicitUsings>
                <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
                <RestorePackagesPath>{scratch["restored"]}</RestorePackagesPath>
                <NuGetAudit>false</NuGetAudit>
              </PropertyGroup>
              <ItemGroup><PackageReference Include="Sbox.Store" Version="0.1.0" /></ItemGroup>
            </Project>
            """);
        File.WriteAllText(scratch["app/Program.cs"], Main);
        IReadOnlyList<string> examples = Examples();
        for (int i = 0; i < examples.Count; i++)
            File.WriteAllText(scratch[$"app/Example{i + 1}.cs"], examples[i]);
    }

    private static IReadOnlyList<string> Examples() => [.. Example().Matches(File.ReadAllText(Page)).Select(static match => match.Groups[1].Value)];

    private static void Dotnet(Scratch scratch, params string[] words)
    {
        Verdict verdict = Judge.OnPath("env").Ask(["--chdir", scratch.Root, "DOTNET_NOLOGO=1", "MSBUILDDISABLENODEREUSE=1", "dotnet", .. words]);
        Assert.True(verdict.ExitCode == 0, $"dotnet {string.Join(' ', words)}\n{verdict.Output}{verdict.Error}");
    }

    [GeneratedRegex(@"```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex Example();

    [GeneratedRegex(@"`(Repository\.\w+|(?:Commit|Checkout|Write|Pull|Find|Copy|Make|Apply|Sign|Verify|Gpg|Fsck|Prune|Load|Log|Diff|Resolve|Children|Begin)\w*)`(?=[^\n]*\|)")]
    private static partial Regex TableCall();
}
