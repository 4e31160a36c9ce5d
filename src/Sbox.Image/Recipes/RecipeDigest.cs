using System.Globalization;
using Sbox.Codecs;
using Sbox.Sysroot;

namespace Sbox.Image;

/// <summary>Checksums of what recipes ask for. Two recipes with one checksum build one tree from one package set, however they are written.</summary>
internal static class RecipeDigest
{
    /// <summary>What decides the base tree; the format's number changes when the way that it is made does.</summary>
    public static Checksum OfPackages(PackageChoices packages)
    {
        using var digest = new InputDigest("sbox base tree 1");
        return digest
            .Add(packages.Suite).Add(packages.Variant).Add(packages.Architecture).Add(packages.Components).Add(packages.Packages)
            .Add(packages.Mirrors).Add(packages.AptOptions).Add(packages.Docs).Add(packages.Locales).Finish();
    }

    /// <summary>All that a recipe says, the content of its files included.</summary>
    public static Checksum Of(Recipe recipe)
    {
        using var digest = new InputDigest("sbox recipe 1");
        digest.Add(recipe.Name).Add(recipe.Ref).Add(recipe.Version).Add(OfPackages(recipe.Packages).Span).Add(recipe.Hostname)
            .Add(recipe.KernelArguments).Add($"{recipe.Tmp}").Add(recipe.Programs)
            .Add(recipe.SourceDateEpoch?.ToString(CultureInfo.InvariantCulture))
            .Add(recipe.Units.Enable).Add(recipe.Units.Disable).Add(recipe.Units.Mask).Add($"{recipe.Initrd.MadeBy}").Add(recipe.Initrd.Modules).Add(recipe.Initrd.Drivers)
            .Add(recipe.Initrd.EncryptedRoot);
        // A recipe that does not say it is what it was before there was the key.
        if (recipe.BootsAs != DefaultBoot.Normal)
            digest.Add(DefaultBoots.MetadataKey).Add(recipe.BootsAs.Name());
        digest.Add($"{recipe.Files.Count}");
        foreach (RecipeFile file in recipe.Files)
            AddFile(digest, file);
        digest.Add($"{recipe.Users.Count}");
        foreach (RecipeUser user in recipe.Users)
        {
            digest.Add(user.Name).Add($"{user.Uid}").Add(user.Group).Add(user.Groups).Add(user.Description)
                .Add(user.Home).Add(user.Shell).Add(user.PasswordHash);
        }

        foreach (RecipeGroup group in recipe.Groups)
            digest.Add(group.Name).Add($"{group.Gid}");
        return digest.Finish();
    }

    internal static void AddFile(InputDigest digest, RecipeFile file)
    {
        digest.Add(file.Path).Add($"{file.Mode}").Add(file.Owner).Add(file.Group).Add(file.LinkTarget);
        if (file.Content is { } content)
            digest.Add(content.Span);
    }
}
