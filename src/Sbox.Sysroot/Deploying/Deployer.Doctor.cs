using Microsoft.Win32.SafeHandles;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

public sealed partial class Deployer
{
    /// <summary>Makes the boot entries anew, whatever is there; who calls holds the lock.</summary>
    internal void RewriteBoot(IReadOnlyList<BootTarget> targets) => new BootLinksWriter(sysroot, classic: esp is null).Write(targets, anew: true);

    /// <summary>Leads the ESP to what is deployed, without removing a UKI; who calls holds the lock.</summary>
    /// <exception cref="NoSpaceException">It has too little room; nothing was written.</exception>
    internal void PublishEsp()
    {
        BootTarget[] targets = [.. sysroot.Deployments.Select(each => Existing(each.Name))];
        esp!.RequireSeals(targets);
        RequireRoom([.. targets.Select(static target => target.Name).Where(name => !esp.Names(name))]);
        esp.Publish(targets, ImageDigest, updateLoader: false, asked: null);
    }

    /// <summary>Makes a deployment's UKI anew in its place; who calls holds the lock.</summary>
    /// <exception cref="NoSpaceException">The ESP has too little room beside the one that is there; nothing was written.</exception>
    internal void RewriteUki(DeploymentName name)
    {
        RequireRoom([name]);
        esp!.Rewrite(Existing(name), ImageDigest(name));
    }

    // Nothing goes first: what of it is no longer wanted may be what boots until here. What is wanted is not said to free anything.
    private void RequireRoom(IReadOnlyList<DeploymentName> written)
    {
        try
        {
            esp!.MustDropFirst(written.Sum(UkiBytes), []);
        }
        catch (NoSpaceException full)
        {
            DeploymentName[] wanted = [.. sysroot.Deployments.Select(static each => each.Name).Except(written)];
            throw new NoSpaceException(full.Path, full.Needed, full.Free, [.. full.Freeable.Where(file => !wanted.Any(name => UnifiedKernel.IsOf(file.What, name)))]);
        }
    }

    // As an upgrade to it would; where the commit is not whole, its UKI is made from the tree all the same, and the room shows while it is written.
    private long UkiBytes(DeploymentName name)
    {
        try
        {
            return new CommitTree(sysroot.Repository, name.Commit).EspBytes();
        }
        catch (Exception unknown) when (unknown is RepositoryException or SysrootException or IOException or MalformedException)
        {
            return 0;
        }
    }

    /// <summary>Makes a deployment's composefs image again from its commit; who calls holds the lock.</summary>
    /// <param name="name">Which.</param>
    /// <param name="wanted">The digest that it must have; null for any.</param>
    /// <exception cref="SysrootDamagedException">It gets another one; the one that is there stays.</exception>
    internal void RestoreImage(DeploymentName name, Checksum? wanted)
    {
        using Dir tree = sysroot.Root.OpenDir(name.Directory);
        InodeFlags.ClearImmutable(tree);
        const string temporary = $"{PhysicalRoot.ImageName}.tmp";
        tree.TryUnlink(temporary);
        sysroot.Step($"write {tree.Of(temporary)}");
        Checksum digest;
        using (SafeFileHandle file = tree.CreateFile(temporary))
        using (var stream = new FileStream(file, FileAccess.ReadWrite, bufferSize: 1 << 16))
        {
            digest = sysroot.Repository.WriteComposefs(name.Commit, stream).Digest;
            stream.Flush();
            Durable.Sync(file, tree.Of(temporary));
        }

        if (wanted is not null && wanted != digest)
        {
            tree.Unlink(temporary);
            throw new SysrootDamagedException(tree.Of(PhysicalRoot.ImageName), $"made again it has the digest {digest}, and its UKI asks for {wanted}");
        }

        tree.Rename(temporary, tree, PhysicalRoot.ImageName);
        Durable.Sync(tree);
    }

    internal Cleaner Cleaner => new(sysroot, planner);
}
